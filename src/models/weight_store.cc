#include "models/weight_store.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/check.h"
#include "base/math.h"
#include "models/weight_packer.h"
#include "tensor/dequantise.h"
#include "tensor/dtype.h"

namespace fusiontree::models {
namespace {

using checkpoint::TensorInfo;
using tensor::DType;

int64_t Panels(int64_t rows) { return (rows + kernels::kPanel - 1) / kernels::kPanel; }

}  // namespace

WeightStore::WeightStore(const checkpoint::Checkpoint& checkpoint, const kernels::Table& table,
                         const ModelOptions& options, const HeadCounts& heads, Shard shard)
    : checkpoint_(checkpoint), table_(table), options_(options), heads_(heads), shard_(shard) {}

base::Result<kernels::MatrixKind> WeightStore::KindOf(DType type) const {
  if (options_.compute == ComputeType::kBf16) return kernels::kBf16Bf16;
  const bool f32 = options_.compute == ComputeType::kF32;
  if (type == DType::kBF16) return f32 ? kernels::kBf16F32 : kernels::kBf16Bf16;
  if (type == DType::kF16) return kernels::kF16F32;
  if (type == DType::kF32) return kernels::kF32F32;
  if (tensor::IsQuantised(type)) return f32 ? kernels::kF32F32 : kernels::kBf16Bf16;
  return base::BadInput("a weight of type {} cannot be multiplied", tensor::Info(type).name);
}

base::Result<size_t> WeightStore::AddMatrix(const std::vector<TensorRule>& parts,
                                            const std::vector<TensorRule>& biases, Stack stack,
                                            int64_t slices) {
  FT_CHECK(biases.empty() || biases.size() == parts.size());
  const bool by_columns = parts[0].sharding == Sharding::kColumns;
  FT_CHECK(slices % (by_columns ? shard_.degree : 1) == 0);
  Stacked stacked;
  stacked.matrix.slices = by_columns ? slices / shard_.degree : slices;
  const int64_t count = static_cast<int64_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, parts[i]));
    FT_ASSIGN_OR_RETURN(const kernels::MatrixKind kind, KindOf(info->type));
    const Owned owned = OwnedPart(parts[i], heads_, shard_);
    // Columns that no file holds are zeros: they count, so that slices are those of the whole layer.
    const int64_t k =
        parts[i].all_columns ? parts[i].all_columns / shard_.degree : owned.columns.end - owned.columns.begin;
    if (i == 0) stacked.matrix.kind = kind;
    if (kind != stacked.matrix.kind) stacked.matrix.kind = kernels::kF32F32;  // widening either side is exact
    FT_CHECK(i == 0 || k == stacked.matrix.k);
    stacked.matrix.k = k;
    const int64_t panels = Panels(owned.rows.end - owned.rows.begin);
    if (stack == Stack::kAlternate) {
      stacked.parts.push_back({info, parts[i], owned, static_cast<int64_t>(i), count, panels});
    } else {
      stacked.parts.push_back({info, parts[i], owned, stacked.matrix.panels, 1, panels});
    }
    stacked.matrix.panels += panels;
  }
  stacked.biases = biases;
  if (!biases.empty()) {
    stacked.bias.assign(static_cast<size_t>(stacked.matrix.panels * kernels::kPanel), 0.0f);
    for (size_t i = 0; i < parts.size(); ++i)
      FT_RETURN_IF_ERROR(PlaceBias(biases[i], stacked.parts[i], &stacked.bias));
  }
  matrices_.push_back(std::move(stacked));
  return matrices_.size() - 1;
}

base::Status WeightStore::PlaceBias(const TensorRule& rule, const Part& part,
                                    std::vector<float>* bias) const {
  FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, rule));
  const base::Range rows = OwnedPart(rule, heads_, shard_).rows;
  std::vector<float> values(static_cast<size_t>(rows.end - rows.begin));
  FT_RETURN_IF_ERROR(
      ReadVector(*info, {rule.first_row + rows.begin, rule.first_row + rows.end}, values.data()));
  const int64_t d = rule.interleaved_head;
  for (int64_t r = 0; r < rows.end - rows.begin; ++r) {
    const int64_t row = d ? r - r % d + r % d % 2 * (d / 2) + r % d / 2 : r;
    (*bias)[static_cast<size_t>(StackRow(part, row))] = values[static_cast<size_t>(r)];
  }
  return base::OkStatus();
}

base::Result<size_t> WeightStore::AddVector(const TensorRule& rule, Form form) {
  FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, rule));
  const Owned owned = OwnedPart(rule, heads_, shard_);
  const int64_t row = owned.columns.end, count = owned.rows.end - owned.rows.begin;
  FT_CHECK(owned.columns.begin == 0);
  std::vector<float> stored(static_cast<size_t>(count * row));
  FT_RETURN_IF_ERROR(ReadVector(*info, {owned.rows.begin * row, owned.rows.end * row}, stored.data()));
  Vector vector{info, form, owned.rows.begin, count, row, {}, nullptr};
  const bool as_stored = form == Form::kAsStored;
  vector.values.assign(as_stored ? stored.size() : static_cast<size_t>(ops::PaddedColumns(count) * row),
                       0.0f);
  Shape(stored.data(), &vector);
  bytes_ += vector.values.size() * sizeof(float);
  vectors_.push_back(std::move(vector));
  return vectors_.size() - 1;
}

void WeightStore::Shape(const float* stored, Vector* vector) const {
  if (vector->form == Form::kAsStored) {
    std::copy_n(stored, vector->values.size(), vector->values.data());
    return;
  }
  const int64_t padded = ops::PaddedColumns(vector->rows);
  for (int64_t r = 0; r < vector->rows; ++r)
    for (int64_t c = 0; c < vector->columns; ++c) {
      float value = stored[r * vector->columns + c];
      // Rounded once.
      if (vector->form == Form::kDecay)
        value = static_cast<float>(-base::Exp(static_cast<double>(value)) * std::numbers::log2e);
      vector->values[static_cast<size_t>(c * padded + r)] = value;
    }
}

ops::Norm WeightStore::MakeNorm(size_t weight, float eps, size_t bias, bool layer_norm) const {
  const bool with_bias = bias != kNone;
  return {vector(weight),
          with_bias ? vector(bias) : nullptr,
          static_cast<int64_t>(vectors_[weight].values.size()),
          eps,
          layer_norm,
          gradient(weight),
          with_bias ? gradient(bias) : nullptr};
}

ops::Convolution WeightStore::MakeConvolution(size_t weight, size_t bias, int64_t width, int64_t channels,
                                              kernels::ConvEnd end) const {
  const bool with_bias = bias != kNone;
  return {width,
          channels,
          vector(weight),
          with_bias ? vector(bias) : nullptr,
          end,
          gradient(weight),
          with_bias ? gradient(bias) : nullptr};
}

base::Status WeightStore::ReadVector(const TensorInfo& info, base::Range rows, float* out) const {
  const int64_t block = tensor::Info(info.type).block, first = rows.begin / block * block;
  const int64_t count = std::min((rows.end + block - 1) / block * block, info.elements()) - first;
  const size_t bytes = tensor::BytesFor(info.type, static_cast<size_t>(count));
  std::vector<char> stored(bytes);
  std::vector<float> wide(static_cast<size_t>(count));
  FT_RETURN_IF_ERROR(
      checkpoint_.Read(info, tensor::BytesFor(info.type, static_cast<size_t>(first)), bytes, stored.data()));
  tensor::ToFloat(info.type, stored.data(), static_cast<size_t>(count), wide.data());
  std::copy_n(wide.begin() + (rows.begin - first), rows.end - rows.begin, out);
  for (int64_t i = 0; i < rows.end - rows.begin; ++i)
    if (!std::isfinite(out[i]))
      return base::BadInput("{}: the tensor {} holds an infinite or NaN value at {}", checkpoint_.path(),
                            info.name, rows.begin + i);
  return base::OkStatus();
}

int64_t WeightStore::PartColumn(size_t matrix, size_t part) const {
  return matrices_[matrix].parts[part].first_panel * kernels::kPanel;
}

size_t WeightStore::MatrixBytes(size_t index) const {
  const ops::Matrix& m = matrices_[index].matrix;
  return static_cast<size_t>(m.panels) * table_.matrix[m.kind].panel_bytes(m.k, m.slices);
}

base::Status WeightStore::Load(ops::Context& context, const std::function<void(double)>& progress) {
  size_t total = 0;
  for (size_t i = 0; i < matrices_.size(); ++i) {
    matrices_[i].offset = total;
    total += (MatrixBytes(i) + 4095) / 4096 * 4096;
    bytes_ += matrices_[i].bias.size() * sizeof(float);
  }
  if (options_.trainable) FT_RETURN_IF_ERROR(PrepareTraining(context));
  FT_ASSIGN_OR_RETURN(buffer_, tensor::Buffer::Create(total));
  bytes_ += total;
  for (Stacked& stacked : matrices_) {
    stacked.matrix.data = buffer_.data() + stacked.offset;
    stacked.matrix.bias = stacked.bias.empty() ? nullptr : stacked.bias.data();
  }
  // Thread i packs its share of every part's panels; the first error in matrix order is the one reported.
  std::vector<base::Status> errors(matrices_.size() * static_cast<size_t>(context.pool().size()));
  std::atomic<bool> failed{false};
  context.pool().Run([&](int thread) {
    for (size_t i = 0; i < matrices_.size() && !failed.load(std::memory_order_relaxed); ++i) {
      Stacked& stacked = matrices_[i];
      for (const Part& part : stacked.parts) {
        const base::Range share = base::Share(part.panels, 1, thread, context.pool().size());
        base::Status status = Packer(*this, stacked, part, nullptr)
                                  .Pack(buffer_.data() + stacked.offset, share.begin, share.end);
        if (!status.ok()) {
          errors[i * static_cast<size_t>(context.pool().size()) + static_cast<size_t>(thread)] = status;
          failed.store(true);
          return;
        }
      }
      if (thread == 0 && progress)
        progress(static_cast<double>(i + 1) / static_cast<double>(matrices_.size()));
    }
  });
  for (const base::Status& status : errors)
    if (!status.ok()) return status;
  if (options_.trainable) {
    for (const Stacked& stacked : matrices_) PackTransposed(context, stacked);
  }
  return base::OkStatus();
}

}  // namespace fusiontree::models
