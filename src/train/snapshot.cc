#include "train/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
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
constexpr const char* kPrefix = "step-";

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

std::string SnapshotPath(const std::string& run, int64_t step) {
  return fmt::format("{}/checkpoints/{}{:08}", run, kPrefix, step);
}

std::vector<int64_t> ListSnapshots(const std::string& run) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    const char* begin = name.data() + std::strlen(kPrefix);
    if (name.rfind(kPrefix, 0) != 0) continue;
    const auto [end, bad] = std::from_chars(begin, name.data() + name.size(), step);
    if (bad == std::errc() && end == name.data() + name.size()) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

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
  if (!files.tokenizer_folder.empty()) {
    for (const char* name : tokenizer::kTokenizerFiles) {
      const std::string from = files.tokenizer_folder + "/" + name;
      if (fs::exists(from, error)) FT_RETURN_IF_ERROR(folder.CopyFile(from, name));
    }
  }
  const nlohmann::json json = {{"step", state.step},
                               {"tokens", state.tokens},
                               {"config", state.config},
                               {"fingerprint", state.fingerprint}};
  FT_RETURN_IF_ERROR(folder.WriteFile("state.json", json.dump(2) + "\n"));
  return folder.Commit();
}

base::Result<SnapshotState> ReadSnapshotState(const std::string& path) {
  const std::string file = path + "/state.json";
  std::ifstream in(file, std::ios::binary);
  if (!in) return base::BadInput("{}: cannot be opened", file);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  SnapshotState state;
  const auto integer = [&](const char* key, int64_t* out) {
    const bool there =
        json.is_object() && json.contains(key) && json[key].is_number_integer() && json[key] >= 0;
    if (there) *out = json[key];
    return there;
  };
  const auto string = [&](const char* key, std::string* out) {
    const bool there = json.is_object() && json.contains(key) && json[key].is_string();
    if (there) *out = json[key];
    return there;
  };
  if (!integer("step", &state.step) || !integer("tokens", &state.tokens) ||
      !string("config", &state.config) || !string("fingerprint", &state.fingerprint))
    return base::BadInput("{}: is not the state of a training run", file);
  return state;
}

base::Status ReadSnapshotValues(const std::string& path, const Layout& layout, float* master, float* first,
                                float* second) {
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint file,
                      checkpoint::Checkpoint::OpenTensors(path + "/optimizer.safetensors"));
  float* const parts[] = {master, first, second};
  if (file.tensors().size() != 3 * layout.count())
    return base::BadInput("{}: has {} tensors, expected {}", file.path(), file.tensors().size(),
                          3 * layout.count());
  for (size_t part = 0; part < std::size(kParts); ++part) {
    for (size_t i = 0; i < layout.count(); ++i) {
      const std::string name = kParts[part] + layout.name(i);
      const checkpoint::TensorInfo* info = file.Find(name);
      if (info == nullptr) return base::BadInput("{}: there is no tensor {}", file.path(), name);
      if (info->type != tensor::DType::kF32 || info->shape != layout.shape(i))
        return base::BadInput("{}: the tensor {} has another type or shape than the model's", file.path(),
                              name);
      FT_RETURN_IF_ERROR(file.Read(*info, 0, info->bytes, parts[part] + layout.offset(i)));
    }
  }
  return base::OkStatus();
}

}  // namespace fusiontree::train
