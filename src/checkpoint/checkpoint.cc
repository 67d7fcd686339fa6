#include "checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "checkpoint/folder.h"

namespace fusiontree::checkpoint {

using base::BadInput;
using base::Quote;
using base::Result;
using base::Status;

struct Checkpoint::State {
  Format format = Format::kSafetensors;
  std::string path;
  std::string folder;  // where ReadText looks; empty for GGUF
  WeightFiles weights;
  mutable std::atomic<uint64_t> bytes_read{0};
};

int64_t TensorInfo::elements() const {
  // Only a tensor with a zero dimension can have others that multiply to more than 63 bits.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t product = 1;
  for (int64_t dimension : shape) product *= dimension;
  return product;
}

std::string TensorInfo::ShapeString() const {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

namespace {

// "" for a path without a slash would be the root of nothing: "." is the folder then.
std::string FolderOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

bool IsGguf(const std::string& path, const InputFile& file) {
  char magic[4] = {};
  if (file.size() >= sizeof magic && file.ReadAt(0, sizeof magic, magic).ok() &&
      std::memcmp(magic, "GGUF", sizeof magic) == 0) {
    return true;
  }
  return path.ends_with(".gguf");
}

Status NotACheckpoint(const std::string& path) {
  for (const char* extension : {".bin", ".pt", ".pth"}) {
    if (path.ends_with(extension)) {
      return BadInput(
          "{} looks like a pickle, which can run code and is never read; convert it to safetensors",
          Quote(path));
    }
  }
  return BadInput("{} is neither a model folder nor a .gguf nor a .safetensors file", Quote(path));
}

}  // namespace

Result<Checkpoint> Checkpoint::Open(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    auto state = std::make_unique<State>();
    state->folder = path;
    FT_ASSIGN_OR_RETURN(state->weights, OpenFolder(path));
    return FromState(path, std::move(state));
  }
  FT_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (IsGguf(path, file)) {
    auto state = std::make_unique<State>();
    state->format = Format::kGguf;
    FT_ASSIGN_OR_RETURN(state->weights, OpenGguf(path));
    return FromState(path, std::move(state));
  }
  if (!path.ends_with(".safetensors")) return NotACheckpoint(path);
  if (stat((FolderOf(path) + "/config.json").c_str(), &status) != 0) {
    return BadInput("{} has no config.json beside it, which says what model its tensors make", Quote(path));
  }
  return OpenTensors(path);
}

Result<Checkpoint> Checkpoint::OpenTensors(const std::string& path) {
  auto state = std::make_unique<State>();
  state->folder = FolderOf(path);
  FT_ASSIGN_OR_RETURN(state->weights, OpenSafetensors(path));
  return FromState(path, std::move(state));
}

Checkpoint Checkpoint::FromState(const std::string& path, std::unique_ptr<State> state) {
  state->path = path;
  std::sort(state->weights.tensors.begin(), state->weights.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  return Checkpoint(std::move(state));
}

Checkpoint::Checkpoint(std::unique_ptr<State> state) : state_(std::move(state)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint::Format Checkpoint::format() const { return state_->format; }
const std::string& Checkpoint::path() const { return state_->path; }
const std::vector<TensorInfo>& Checkpoint::tensors() const { return state_->weights.tensors; }
const Metadata& Checkpoint::metadata() const { return state_->weights.metadata; }
uint64_t Checkpoint::bytes_read() const { return state_->bytes_read.load(std::memory_order_relaxed); }

const TensorInfo* Checkpoint::Find(std::string_view name) const {
  const std::vector<TensorInfo>& all = tensors();
  const auto found =
      std::lower_bound(all.begin(), all.end(), name,
                       [](const TensorInfo& info, std::string_view wanted) { return info.name < wanted; });
  return found != all.end() && found->name == name ? &*found : nullptr;
}

Status Checkpoint::Read(const TensorInfo& tensor, uint64_t begin, uint64_t size, void* out) const {
  FT_CHECK(begin <= tensor.bytes && size <= tensor.bytes - begin);
  FT_CHECK(tensor.file >= 0 && static_cast<size_t>(tensor.file) < state_->weights.files.size());
  state_->bytes_read.fetch_add(size, std::memory_order_relaxed);
  const InputFile& file = state_->weights.files[static_cast<size_t>(tensor.file)];
  const Status status = file.ReadAt(tensor.offset + begin, size, out);
  return status.ok() ? status : status.WithContext("reading tensor " + Quote(tensor.name));
}

Result<std::optional<std::string>> Checkpoint::ReadText(const std::string& file_name) const {
  constexpr uint64_t kLimit = 256u << 20;
  if (state_->folder.empty()) return std::optional<std::string>();
  if (file_name.empty() || file_name.find('/') != std::string::npos || file_name == "..") {
    return BadInput("{} must be the name of a file in the model's folder", Quote(file_name));
  }
  const std::string path = state_->folder + "/" + file_name;
  struct stat status;
  if (lstat(path.c_str(), &status) != 0 && errno == ENOENT) return std::optional<std::string>();
  FT_ASSIGN_OR_RETURN(std::string text, ReadSmallFile(path, kLimit));
  return std::optional<std::string>(std::move(text));
}

}  // namespace fusiontree::checkpoint
