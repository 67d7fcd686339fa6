#include "train/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "data/output_folder.h"
#include "tensor/dtype.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;
constexpr const char* kState = "state.json";

base::Status WriteModel(const std::string& path, const Layout& layout,
                        const std::vector<models::Parameter>& parameters, bool bf16, const float* master) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const models::Parameter& p : parameters)
    specs.push_back({p.name, bf16 && p.matrix ? tensor::DType::kBF16 : tensor::DType::kF32, p.shape});
  FT_ASSIGN_OR_RETURN(checkpoint::SafetensorsWriter writer,
                      checkpoint::SafetensorsWriter::Create(path, specs));
  std::vector<uint16_t> narrow;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const float* values = master + layout.offset(i);
    const size_t n = static_cast<size_t>(parameters[i].elements());
    if (specs[i].type == tensor::DType::kF32) {
      FT_RETURN_IF_ERROR(writer.Append(parameters[i].name, values, n * sizeof(float)));
      continue;
    }
    narrow.resize(n);
    for (size_t e = 0; e < n; ++e) narrow[e] = tensor::FloatToBf16(values[e]);
    FT_RETURN_IF_ERROR(writer.Append(parameters[i].name, narrow.data(), n * sizeof(uint16_t)));
  }
  return writer.Finish();
}

constexpr const char* kParts[] = {"master.", "first.", "second."};

base::Status WriteOptimizer(const std::string& path, const Layout& layout, const SnapshotValues& values) {
  const float* const parts[] = {values.master, values.first, values.second};
  std::vector<checkpoint::TensorSpec> specs;
  for (const char* part : kParts)
    for (size_t i = 0; i < layout.count(); ++i)
      specs.push_back({part + layout.name(i), tensor::DType::kF32, layout.shape(i)});
  FT_ASSIGN_OR_RETURN(checkpoint::SafetensorsWriter writer,
                      checkpoint::SafetensorsWriter::Create(path, specs));
  for (size_t part = 0; part < std::size(kParts); ++part)
    for (size_t i = 0; i < layout.count(); ++i)
      FT_RETURN_IF_ERROR(
          writer.Append(kParts[part] + layout.name(i), parts[part] + layout.offset(i),
                        static_cast<uint64_t>(layout.offset(i + 1) - layout.offset(i)) * sizeof(float)));
  return writer.Finish();
}

}  // namespace

base::Status WriteSnapshot(const std::string& path, const SnapshotState& state, const SnapshotFiles& files,
                           const Layout& layout, const std::vector<models::Parameter>& parameters, bool bf16,
                           const SnapshotValues& values) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) return base::Failed("{}: cannot be made: {}", path, error.message());
  FT_ASSIGN_OR_RETURN(data::OutputFolder folder, data::OutputFolder::Create(path));
  FT_RETURN_IF_ERROR(
      WriteModel(folder.path() + "/model.safetensors", layout, parameters, bf16, values.master));
  FT_RETURN_IF_ERROR(WriteOptimizer(folder.path() + "/optimizer.safetensors", layout, values));
  FT_RETURN_IF_ERROR(folder.WriteFile("config.json", files.config_json));
  if (files.carried) FT_RETURN_IF_ERROR(WriteLanes(folder.path(), *files.carried));
  if (!files.tokenizer_folder.empty()) {
    for (const char* name : tokenizer::kTokenizerFiles) {
      const std::string from = files.tokenizer_folder + "/" + name;
      if (fs::exists(from, error)) FT_RETURN_IF_ERROR(folder.CopyFile(from, name));
    }
  }
  nlohmann::json json = {{"step", state.step},
                         {"tokens", state.tokens},
                         {"config", state.config},
                         {"fingerprint", state.fingerprint}};
  if (state.held_out)
    json["held_out"] = {{"bits_per_byte", state.held_out->bits_per_byte}, {"bytes", state.held_out->bytes}};
  for (const auto& entry : fs::recursive_directory_iterator(folder.path(), error))
    if (entry.is_regular_file(error))
      json["files"][entry.path().lexically_relative(folder.path()).string()] = entry.file_size(error);
  FT_RETURN_IF_ERROR(folder.WriteFile(kState, json.dump(2) + "\n"));
  return folder.Commit();
}

base::Result<SnapshotState> ReadSnapshotState(const std::string& path) {
  const std::string file = path + "/" + kState;
  std::ifstream in(file, std::ios::binary);
  if (!in) return base::BadInput("{}: cannot be opened", file);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  SnapshotState state;
  const auto integer = [](const nlohmann::json& from, const char* key, int64_t* out) {
    const bool there =
        from.is_object() && from.contains(key) && from[key].is_number_integer() && from[key] >= 0;
    if (there) *out = from[key];
    return there;
  };
  const auto string = [&](const char* key, std::string* out) {
    const bool there = json.is_object() && json.contains(key) && json[key].is_string();
    if (there) *out = json[key];
    return there;
  };
  bool good = integer(json, "step", &state.step) && integer(json, "tokens", &state.tokens) &&
              string("config", &state.config) && string("fingerprint", &state.fingerprint) &&
              json.contains("files") && json["files"].is_object();
  if (good && json.contains("held_out")) {
    const nlohmann::json& held_out = json["held_out"];
    Measured measured;
    good = integer(held_out, "bytes", &measured.bytes) && held_out.contains("bits_per_byte") &&
           held_out["bits_per_byte"].is_number();
    if (good) measured.bits_per_byte = held_out["bits_per_byte"];
    state.held_out = measured;
  }
  if (good)
    for (const auto& [name, size] : json["files"].items())
      good = good && integer(json["files"], name.c_str(), &state.files[name]);
  if (!good) return base::BadInput("{}: is not the state of a training run, or is cut short", file);
  return state;
}

base::Status CheckSnapshotFiles(const std::string& path, const SnapshotState& state) {
  for (const auto& [name, size] : state.files) {
    std::error_code error;
    const uintmax_t found = fs::file_size(path + "/" + name, error);
    if (error) return base::BadInput("{}/{}: cannot be read: {}", path, name, error.message());
    if (found != static_cast<uintmax_t>(size))
      return base::BadInput("{}/{}: has {} bytes, but was written with {}", path, name, found, size);
  }
  return base::OkStatus();
}

base::Status ReadSnapshotValues(const std::string& path, const Layout& layout, base::Range shard,
                                float* master, float* first, float* second) {
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint file,
                      checkpoint::Checkpoint::OpenTensors(path + "/optimizer.safetensors"));
  if (file.tensors().size() != 3 * layout.count())
    return base::BadInput("{}: has {} tensors, expected {}", file.path(), file.tensors().size(),
                          3 * layout.count());
  const struct {
    float* values;
    base::Range range;  // of all elements, of which the first lies at `values`
  } parts[] = {{master, {0, layout.size()}}, {first, shard}, {second, shard}};
  for (size_t part = 0; part < std::size(kParts); ++part) {
    const auto& [values, range] = parts[part];
    for (size_t i = 0; i < layout.count(); ++i) {
      const std::string name = kParts[part] + layout.name(i);
      const checkpoint::TensorInfo* info = file.Find(name);
      if (info == nullptr) return base::BadInput("{}: there is no tensor {}", file.path(), name);
      if (info->type != tensor::DType::kF32 || info->shape != layout.shape(i))
        return base::BadInput("{}: the tensor {} has another type or shape than the model's", file.path(),
                              name);
      const int64_t begin = std::max(range.begin, layout.offset(i)),
                    end = std::min(range.end, layout.offset(i + 1));
      if (begin >= end) continue;
      FT_RETURN_IF_ERROR(file.Read(*info, static_cast<uint64_t>(begin - layout.offset(i)) * sizeof(float),
                                   static_cast<uint64_t>(end - begin) * sizeof(float),
                                   values + (begin - range.begin)));
    }
  }
  return base::OkStatus();
}

}  // namespace fusiontree::train
