#include "checkpoint/folder.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/bytes.h"
#include "checkpoint/safetensors.h"

namespace fusiontree::checkpoint {
namespace {

namespace fs = std::filesystem;
using base::BadInput;
using base::Quote;
using base::Result;
using base::Status;

constexpr uint64_t kMaxIndex = 100'000'000;
constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

// Present in any form, a broken link included: what is wrong with it is said when it is opened.
bool Exists(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  return status.type() != fs::file_type::not_found && status.type() != fs::file_type::none;
}

// One sentence on why `folder` cannot be opened, from what lies in it.
Status NoWeights(const std::string& folder) {
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error) return BadInput("{} cannot be listed: {}", Quote(folder), error.message());
  std::string pickle, gguf, safetensors;
  bool empty = true;
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    empty = false;
    const std::string name = entry->path().filename().string();
    const std::string extension = entry->path().extension().string();
    // The smallest name, so that the sentence does not depend on the order of the listing.
    const auto keep = [&name](std::string* best) { *best = best->empty() ? name : std::min(*best, name); };
    if (extension == ".bin" || extension == ".pt" || extension == ".pth") keep(&pickle);
    if (extension == ".gguf") keep(&gguf);
    if (extension == ".safetensors") keep(&safetensors);
  }
  if (empty) return BadInput("the folder {} is empty, where a model was expected", Quote(folder));
  const std::string missing =
      fmt::format("the folder {} has no {} and no {}", Quote(folder), kSingle, kIndex);
  if (!safetensors.empty()) return BadInput("{}; to open {} give its path", missing, Quote(safetensors));
  if (!gguf.empty()) return BadInput("{}; to open {} give its path", missing, Quote(gguf));
  if (!pickle.empty()) {
    return BadInput("{}, only {}, a pickle, which can run code and is never read; convert it to safetensors",
                    missing, Quote(pickle));
  }
  return BadInput("{}", missing);
}

bool IsInside(const fs::path& path, const fs::path& folder) {
  const auto [end, rest] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

// The index is somebody else's text, so a shard that is a link must not lead out of the folder. The hub's
// cache is MODEL/snapshots/REVISION/shard -> MODEL/blobs/HASH; links from there into `blobs` are its normal
// form.
Status CheckShardStays(const std::string& folder, const std::string& shard) {
  std::error_code error;
  const fs::path home = fs::canonical(folder, error);
  if (error) return BadInput("the folder {} cannot be resolved: {}", Quote(folder), error.message());
  const fs::path target = fs::canonical(home / shard, error);
  if (error) return base::OkStatus();  // missing: opening it says so
  if (IsInside(target, home)) return base::OkStatus();
  if (home.parent_path().filename() == "snapshots" &&
      IsInside(target, home.parent_path().parent_path() / "blobs")) {
    return base::OkStatus();
  }
  return BadInput("the shard {} is a link that leaves the folder {}", Quote(shard), Quote(folder));
}

// Opens one safetensors file as the next of `out` and appends its tensors.
Status AddFile(const std::string& path, WeightFiles* out) {
  FT_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
  std::array<uint8_t, kSafetensorsPrefix> prefix;
  const uint64_t start = std::min<uint64_t>(prefix.size(), file.size());
  FT_RETURN_IF_ERROR(file.ReadAt(0, start, prefix.data()));
  const Result<uint64_t> header_size = SafetensorsHeaderSize(std::span(prefix).first(start), file.size());
  if (!header_size.ok()) return header_size.status().WithContext(Quote(path));
  std::string header(*header_size, '\0');
  FT_RETURN_IF_ERROR(file.ReadAt(kSafetensorsPrefix, header.size(), header.data()));
  const uint64_t data_start = kSafetensorsPrefix + header.size();
  Result<std::vector<TensorInfo>> tensors =
      ParseSafetensorsHeader(header, data_start, file.size() - data_start);
  if (!tensors.ok()) return tensors.status().WithContext(Quote(path));
  for (TensorInfo& info : *tensors) {
    info.file = static_cast<int>(out->files.size());
    out->tensors.push_back(std::move(info));
  }
  out->files.push_back(std::move(file));
  return base::OkStatus();
}

Result<WeightFiles> OpenShards(const std::string& folder) {
  const std::string index_path = folder + "/" + kIndex;
  FT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(index_path, kMaxIndex));
  Result<std::map<std::string, std::string>> parsed = ParseSafetensorsIndex(text);
  if (!parsed.ok()) return parsed.status().WithContext(Quote(index_path));
  const std::map<std::string, std::string>& shard_of = *parsed;

  std::map<std::string, int> shards;  // name -> index of its file
  for (const auto& [name, shard] : shard_of) shards.emplace(shard, 0);
  WeightFiles out;
  std::vector<std::string> names;
  for (auto& [shard, file] : shards) {
    FT_RETURN_IF_ERROR(CheckShardStays(folder, shard));
    if (!Exists(folder + "/" + shard)) {
      return BadInput("the shard {} named in {} is missing", Quote(shard), Quote(index_path));
    }
    file = static_cast<int>(out.files.size());
    names.push_back(shard);
    FT_RETURN_IF_ERROR(AddFile(folder + "/" + shard, &out));
  }

  // Names are unique within a shard and within the index; here the two are made to agree one to one.
  std::map<std::string_view, int> found;
  for (const TensorInfo& info : out.tensors) {
    const std::string& shard = names[static_cast<size_t>(info.file)];
    const auto [other, is_new] = found.emplace(info.name, info.file);
    if (!is_new) {
      return BadInput("tensor {} is in two shards, {} and {}", Quote(info.name),
                      Quote(names[static_cast<size_t>(other->second)]), Quote(shard));
    }
  }
  for (const TensorInfo& info : out.tensors) {
    const std::string& shard = names[static_cast<size_t>(info.file)];
    const auto entry = shard_of.find(info.name);
    if (entry == shard_of.end()) {
      return BadInput("tensor {} is in the shard {}, but not in {}", Quote(info.name), Quote(shard),
                      Quote(index_path));
    }
    if (entry->second != shard) {
      return BadInput("tensor {} is in the shard {}, but {} says it is in {}", Quote(info.name), Quote(shard),
                      Quote(index_path), Quote(entry->second));
    }
  }
  for (const auto& [name, shard] : shard_of) {
    if (found.count(name) == 0) {
      return BadInput("tensor {} is not in the shard {}, where {} says it is", Quote(name), Quote(shard),
                      Quote(index_path));
    }
  }
  return out;
}

}  // namespace

Result<std::string> ReadSmallFile(const std::string& path, uint64_t limit) {
  FT_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (file.size() > limit)
    return BadInput("{} has {} bytes, above the limit of {}", Quote(path), file.size(), limit);
  std::string text(file.size(), '\0');
  FT_RETURN_IF_ERROR(file.ReadAt(0, text.size(), text.data()));
  return text;
}

Result<WeightFiles> OpenFolder(const std::string& folder) {
  if (Exists(folder + "/" + kSingle)) return OpenSafetensors(folder + "/" + kSingle);
  if (Exists(folder + "/" + kIndex)) return OpenShards(folder);
  return NoWeights(folder);
}

Result<WeightFiles> OpenSafetensors(const std::string& path) {
  WeightFiles out;
  FT_RETURN_IF_ERROR(AddFile(path, &out));
  return out;
}

Result<WeightFiles> OpenGguf(const std::string& path) {
  WeightFiles out;
  FT_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
  // How long the header is shows only in parsing it: try with more and more of the file.
  std::vector<uint8_t> bytes;
  for (uint64_t size = 4u << 20;; size *= 4) {
    const uint64_t wanted = std::min({size, kGgufMaxHeader, file.size()});
    const uint64_t have = bytes.size();
    bytes.resize(wanted);
    FT_RETURN_IF_ERROR(file.ReadAt(have, wanted - have, bytes.data() + have));
    bool needs_more = false;
    Result<GgufHeader> header = ParseGguf(bytes, file.size(), &needs_more);
    if (header.ok()) {
      out.tensors = std::move(header->tensors);
      out.metadata = std::move(header->metadata);
      break;
    }
    if (!needs_more) return header.status().WithContext(Quote(path));
    if (wanted == kGgufMaxHeader) {
      return BadInput("{}: the GGUF header is larger than {} bytes", Quote(path), kGgufMaxHeader);
    }
  }
  out.files.push_back(std::move(file));
  return out;
}

}  // namespace fusiontree::checkpoint
