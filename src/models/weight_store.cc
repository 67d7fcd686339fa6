#include "models/weight_store.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/dequantise.h"
#include "tensor/dtype.h"

namespace fusiontree::models {
namespace {

using checkpoint::TensorInfo;
using tensor::DType;

constexpr int64_t kReadBytes = 1 << 20;  // about this much of a file at a time: stays in L2 until it is packed

int64_t Panels(int64_t rows) { return (rows + kernels::kPanel - 1) / kernels::kPanel; }

DType StoredType(kernels::MatrixKind kind) {
  if (kind == kernels::kF32F32) return DType::kF32;
  return kind == kernels::kF16F32 ? DType::kF16 : DType::kBF16;
}

}  // namespace

// Packs the panels of one thread's share, through buffers of its own.
class WeightStore::Packer {
 public:
  Packer(const WeightStore& store, const Stacked& stacked, const Part& part)
      : store_(store), part_(part), ops_(store.table_.matrix[stacked.matrix.kind]), matrix_(stacked.matrix),
        type_(StoredType(stacked.matrix.kind)), k_(stacked.matrix.k),
        file_row_(tensor::BytesFor(part.tensor->type, static_cast<size_t>(k_))),
        row_(tensor::BytesFor(type_, static_cast<size_t>(k_))) {}

  // Panels [begin, end) of the part.
  base::Status Pack(std::byte* base, int64_t begin, int64_t end) {
    const int64_t rows = part_.rule.shape[0], head = part_.rule.interleaved_head;
    // Whole panels, and whole heads where their rows are interleaved in the file.
    int64_t step = std::max<int64_t>(1, kReadBytes / (static_cast<int64_t>(file_row_) * kernels::kPanel));
    for (int64_t panel = begin; panel < end; panel += step) {
      const int64_t last = std::min(panel + step, end);
      const int64_t first_row = panel * kernels::kPanel, end_row = std::min(last * kernels::kPanel, rows);
      const int64_t read_first = head ? first_row / head * head : first_row;
      const int64_t read_end = head ? std::min((end_row + head - 1) / head * head, rows) : end_row;
      FT_RETURN_IF_ERROR(Read(read_first, read_end));
      if (head) Deinterleave(read_first, read_end, head);
      for (int64_t p = panel; p < last; ++p) {
        const int64_t row = p * kernels::kPanel, count = std::min(kernels::kPanel, rows - row);
        std::byte* to = base + static_cast<size_t>(part_.first_panel + p * part_.panel_step) *
                                   ops_.panel_bytes(k_, matrix_.slices);
        if (!ops_.pack_weight(rows_.data() + static_cast<size_t>(row - read_first) * row_, row_, count, k_,
                              matrix_.slices, to))
          return base::BadInput("{}: the tensor {} holds an infinite or NaN value in rows {} to {}",
                                store_.checkpoint_.path(), part_.tensor->name, row, row + count - 1);
      }
    }
    return base::OkStatus();
  }

 private:
  // Rows [first, end) of the file into rows_, in the stored type.
  base::Status Read(int64_t first, int64_t end) {
    const size_t count = static_cast<size_t>(end - first), elements = count * static_cast<size_t>(k_);
    const uint64_t at = static_cast<uint64_t>(first) * file_row_, size = count * file_row_;
    rows_.resize(count * row_);
    if (part_.tensor->type == type_) return store_.checkpoint_.Read(*part_.tensor, at, size, rows_.data());
    file_.resize(size);
    FT_RETURN_IF_ERROR(store_.checkpoint_.Read(*part_.tensor, at, size, file_.data()));
    if (type_ == DType::kF32) {
      tensor::ToFloat(part_.tensor->type, file_.data(), elements, reinterpret_cast<float*>(rows_.data()));
      return base::OkStatus();
    }
    FT_CHECK(type_ == DType::kBF16);
    floats_.resize(elements);
    tensor::ToFloat(part_.tensor->type, file_.data(), elements, floats_.data());
    uint16_t* out = reinterpret_cast<uint16_t*>(rows_.data());
    for (size_t i = 0; i < elements; ++i) out[i] = tensor::FloatToBf16(floats_[i]);
    return base::OkStatus();
  }
  // File row 2i + j of a head becomes row j * head / 2 + i.
  void Deinterleave(int64_t first, int64_t end, int64_t head) {
    file_.assign(rows_.begin(), rows_.end());
    for (int64_t r = 0; r < end - first; ++r) {
      const int64_t in_head = r % head, to = r - in_head + in_head % 2 * (head / 2) + in_head / 2;
      std::memcpy(rows_.data() + static_cast<size_t>(to) * row_, file_.data() + static_cast<size_t>(r) * row_, row_);
    }
  }

  const WeightStore& store_;
  const Part& part_;
  const kernels::MatrixOps& ops_;
  const ops::Matrix& matrix_;
  DType type_;
  int64_t k_;
  size_t file_row_, row_;  // bytes of a row in the file and as stored
  std::vector<char> file_, rows_;
  std::vector<float> floats_;
};

WeightStore::WeightStore(const checkpoint::Checkpoint& checkpoint, const kernels::Table& table, ComputeType compute)
    : checkpoint_(checkpoint), table_(table), compute_(compute) {}

base::Result<kernels::MatrixKind> WeightStore::KindOf(DType type) const {
  if (compute_ == ComputeType::kBf16) return kernels::kBf16Bf16;
  const bool f32 = compute_ == ComputeType::kF32;
  if (type == DType::kBF16) return f32 ? kernels::kBf16F32 : kernels::kBf16Bf16;
  if (type == DType::kF16) return kernels::kF16F32;
  if (type == DType::kF32) return kernels::kF32F32;
  if (tensor::IsQuantised(type)) return f32 ? kernels::kF32F32 : kernels::kBf16Bf16;
  return base::BadInput("a weight of type {} cannot be multiplied", tensor::Info(type).name);
}

base::Result<size_t> WeightStore::AddMatrix(const std::vector<TensorRule>& parts, const std::vector<TensorRule>& biases,
                                            Stack stack, int64_t slices) {
  FT_CHECK(biases.empty() || biases.size() == parts.size());
  Stacked stacked;
  stacked.matrix.k = parts[0].shape[1];
  stacked.matrix.slices = slices;
  const int64_t count = static_cast<int64_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, parts[i]));
    FT_ASSIGN_OR_RETURN(const kernels::MatrixKind kind, KindOf(info->type));
    if (i == 0) stacked.matrix.kind = kind;
    if (kind != stacked.matrix.kind) stacked.matrix.kind = kernels::kF32F32;  // widening either side is exact
    FT_CHECK(parts[i].shape[1] == stacked.matrix.k);
    const int64_t panels = Panels(parts[i].shape[0]);
    if (stack == Stack::kAlternate) {
      stacked.parts.push_back({info, parts[i], static_cast<int64_t>(i), count, panels});
    } else {
      stacked.parts.push_back({info, parts[i], stacked.matrix.panels, 1, panels});
    }
    stacked.matrix.panels += panels;
  }
  if (!biases.empty()) {
    stacked.bias.assign(static_cast<size_t>(stacked.matrix.panels * kernels::kPanel), 0.0f);
    for (size_t i = 0; i < parts.size(); ++i) {
      FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, biases[i]));
      std::vector<float> values(static_cast<size_t>(info->elements()));
      FT_RETURN_IF_ERROR(ReadVector(*info, values.data()));
      const Part& part = stacked.parts[i];
      const int64_t d = biases[i].interleaved_head;
      for (int64_t r = 0; r < static_cast<int64_t>(values.size()); ++r) {
        const int64_t row = d ? r - r % d + r % d % 2 * (d / 2) + r % d / 2 : r;
        const int64_t panel = part.first_panel + row / kernels::kPanel * part.panel_step;
        stacked.bias[static_cast<size_t>(panel * kernels::kPanel + row % kernels::kPanel)] = values[static_cast<size_t>(r)];
      }
    }
  }
  matrices_.push_back(std::move(stacked));
  return matrices_.size() - 1;
}

base::Result<size_t> WeightStore::AddVector(const TensorRule& rule) {
  FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, rule));
  Vector vector{info, std::vector<float>(static_cast<size_t>(info->elements()))};
  FT_RETURN_IF_ERROR(ReadVector(*info, vector.values.data()));
  bytes_ += vector.values.size() * sizeof(float);
  vectors_.push_back(std::move(vector));
  return vectors_.size() - 1;
}

base::Status WeightStore::ReadVector(const TensorInfo& info, float* out) const {
  std::vector<char> bytes(info.bytes);
  FT_RETURN_IF_ERROR(checkpoint_.Read(info, 0, info.bytes, bytes.data()));
  tensor::ToFloat(info.type, bytes.data(), static_cast<size_t>(info.elements()), out);
  for (int64_t i = 0; i < info.elements(); ++i)
    if (!std::isfinite(out[i]))
      return base::BadInput("{}: the tensor {} holds an infinite or NaN value at {}", checkpoint_.path(), info.name, i);
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
        base::Status status = Packer(*this, stacked, part).Pack(buffer_.data() + stacked.offset, share.begin, share.end);
        if (!status.ok()) {
          errors[i * static_cast<size_t>(context.pool().size()) + static_cast<size_t>(thread)] = status;
          failed.store(true);
          return;
        }
      }
      if (thread == 0 && progress) progress(static_cast<double>(i + 1) / static_cast<double>(matrices_.size()));
    }
  });
  for (const base::Status& status : errors)
    if (!status.ok()) return status;
  return base::OkStatus();
}

}  // namespace fusiontree::models
