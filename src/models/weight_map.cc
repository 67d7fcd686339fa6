#include "models/weight_map.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

namespace fusiontree::models {
namespace {

using checkpoint::Checkpoint;
using checkpoint::TensorInfo;

const std::string& NameIn(const Checkpoint& checkpoint, const TensorRule& rule) {
  return checkpoint.format() == Checkpoint::Format::kGguf ? rule.gguf_name : rule.name;
}

// Buffers that old versions of Transformers saved along and that hold nothing the config does not say.
bool KnownLeftover(const std::string& name) {
  static const std::string kSuffix = "rotary_emb.inv_freq";
  return name.size() >= kSuffix.size() &&
         name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0;
}

std::string Shown(const std::vector<int64_t>& shape) {
  TensorInfo info;
  info.shape = shape;
  return info.ShapeString();
}

}  // namespace

std::vector<int64_t> TensorRule::FileShape() const {
  std::vector<int64_t> file = shape;
  if (all_rows != 0) file[0] = all_rows;
  return file;
}

TensorRule MakeRule(std::string name, std::vector<int64_t> shape, Sharding sharding) {
  return {.name = std::move(name), .gguf_name = "", .shape = std::move(shape), .sharding = sharding};
}

base::Result<const TensorInfo*> FindTensor(const Checkpoint& checkpoint, const TensorRule& rule) {
  const std::string& name = NameIn(checkpoint, rule);
  const TensorInfo* info = checkpoint.Find(name);
  if (info == nullptr) return base::BadInput("{}: the tensor {} is missing", checkpoint.path(), name);
  if (info->shape != rule.FileShape())
    return base::BadInput("{}: the tensor {} has shape {}, expected {}", checkpoint.path(), name,
                          info->ShapeString(), Shown(rule.FileShape()));
  if (rule.f32_only && info->type != tensor::DType::kF32)
    return base::BadInput("{}: the tensor {} has type {}, expected F32", checkpoint.path(), name,
                          tensor::Info(info->type).name);
  if (!tensor::Info(info->type).is_float)
    return base::BadInput("{}: the tensor {} has type {}, expected a float type", checkpoint.path(), name,
                          tensor::Info(info->type).name);
  return info;
}

base::Status RefuseLeftovers(const Checkpoint& checkpoint, const std::vector<TensorRule>& rules,
                             const std::vector<std::string>& also_known) {
  std::set<std::string> known(also_known.begin(), also_known.end());
  for (const TensorRule& rule : rules) known.insert(NameIn(checkpoint, rule));
  for (const TensorInfo& info : checkpoint.tensors())
    if (known.count(info.name) == 0 && !KnownLeftover(info.name))
      return base::BadInput("{}: the tensor {} {} is not part of this model", checkpoint.path(), info.name,
                            info.ShapeString());
  return base::OkStatus();
}

base::Status RequireEqual(const Checkpoint& checkpoint, const TensorInfo& a, const TensorInfo& b,
                          base::Range rows) {
  const base::Status differ = base::BadInput("{}: {} and {} differ, but the config says that they are tied",
                                             checkpoint.path(), a.name, b.name);
  if (a.type != b.type || a.shape != b.shape) return differ;
  const uint64_t row = a.shape.empty() || a.shape[0] == 0 ? 0 : a.bytes / static_cast<uint64_t>(a.shape[0]);
  const uint64_t end = row * static_cast<uint64_t>(rows.end);
  constexpr uint64_t kChunk = uint64_t{4} << 20;
  std::vector<char> left(static_cast<size_t>(std::min(kChunk, a.bytes))), right(left.size());
  for (uint64_t at = row * static_cast<uint64_t>(rows.begin); at < end; at += kChunk) {
    const uint64_t size = std::min(kChunk, end - at);
    FT_RETURN_IF_ERROR(checkpoint.Read(a, at, size, left.data()));
    FT_RETURN_IF_ERROR(checkpoint.Read(b, at, size, right.data()));
    if (std::memcmp(left.data(), right.data(), size) != 0) return differ;
  }
  return base::OkStatus();
}

}  // namespace fusiontree::models
