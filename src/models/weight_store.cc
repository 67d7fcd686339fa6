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

constexpr int64_t kReadBytes =
    1 << 20;  // about this much of a file at a time: stays in L2 until it is packed

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
      : store_(store),
        part_(part),
        ops_(store.table_.matrix[stacked.matrix.kind]),
        matrix_(stacked.matrix),
        file_type_(part.tensor->type),
        type_(StoredType(stacked.matrix.kind)),
        k_(stacked.matrix.k),
        row_(tensor::BytesFor(type_, static_cast<size_t>(k_))) {
    // Columns in whole blocks of the file's type.
    const int64_t block = tensor::Info(file_type_).block;
    const base::Range columns = part.owned.columns;
    read_ = {columns.begin / block * block, (columns.end + block - 1) / block * block};
    const auto bytes = [&](int64_t n) { return tensor::BytesFor(file_type_, static_cast<size_t>(n)); };
    file_row_ = bytes(part.rule.shape[1]);
    skip_ = bytes(read_.begin);
    read_row_ = bytes(read_.end - read_.begin);
  }

  // Panels [begin, end) of the part.
  base::Status Pack(std::byte* base, int64_t begin, int64_t end) {
    const int64_t rows = part_.owned.rows.end - part_.owned.rows.begin, head = part_.rule.interleaved_head;
    // Whole panels, and whole heads where their rows are interleaved in the file.
    const int64_t step = std::max<int64_t>(1, kReadBytes / (static_cast<int64_t>(row_) * kernels::kPanel));
    for (int64_t panel = begin; panel < end; panel += step) {
      const int64_t last = std::min(panel + step, end);
      const int64_t first_row = panel * kernels::kPanel, end_row = std::min(last * kernels::kPanel, rows);
      const int64_t read_first = head ? first_row / head * head : first_row;
      const int64_t read_end = head ? std::min((end_row + head - 1) / head * head, rows) : end_row;
      FT_RETURN_IF_ERROR(
          Read(part_.rule.first_row + part_.owned.rows.begin + read_first, read_end - read_first));
      if (head) Deinterleave(read_end - read_first, head);
      for (int64_t p = panel; p < last; ++p) {
        const int64_t row = p * kernels::kPanel, count = std::min(kernels::kPanel, rows - row);
        std::byte* to = base + static_cast<size_t>(part_.first_panel + p * part_.panel_step) *
                                   ops_.panel_bytes(k_, matrix_.slices);
        if (!ops_.pack_weight(rows_.data() + static_cast<size_t>(row - read_first) * row_, row_, count, k_,
                              matrix_.slices, to))
          return base::BadInput("{}: the tensor {} holds an infinite or NaN value in rows {} to {}",
                                store_.checkpoint_.path(), part_.tensor->name, part_.owned.rows.begin + row,
                                part_.owned.rows.begin + row + count - 1);
      }
    }
    return base::OkStatus();
  }

 private:
  // `count` rows from row `first` of the file into rows_: the owned columns in the stored type.
  base::Status Read(int64_t first, int64_t count) {
    const size_t n = static_cast<size_t>(count), wide = static_cast<size_t>(read_.end - read_.begin);
    const size_t held = static_cast<size_t>(part_.owned.columns.end - part_.owned.columns.begin);
    const bool whole = held == static_cast<size_t>(k_);
    rows_.resize(n * row_);
    if (!whole) std::fill(rows_.begin(), rows_.end(), 0);
    if (held == 0) return base::OkStatus();
    if (file_type_ == type_ && whole) return ReadRows(first, n, rows_.data());
    file_.resize(n * read_row_);
    FT_RETURN_IF_ERROR(ReadRows(first, n, file_.data()));
    floats_.resize(n * wide);
    tensor::ToFloat(file_type_, file_.data(), n * wide, floats_.data());
    const size_t before = static_cast<size_t>(part_.owned.columns.begin - read_.begin);
    for (size_t r = 0; r < n; ++r) Store(floats_.data() + r * wide + before, rows_.data() + r * row_, held);
    return base::OkStatus();
  }
  // Bytes of the read columns of `count` rows: in one piece where these are whole rows.
  base::Status ReadRows(int64_t first, size_t count, char* out) const {
    const uint64_t at = static_cast<uint64_t>(first) * file_row_ + skip_;
    if (read_row_ == file_row_) return store_.checkpoint_.Read(*part_.tensor, at, count * file_row_, out);
    for (size_t r = 0; r < count; ++r)
      FT_RETURN_IF_ERROR(
          store_.checkpoint_.Read(*part_.tensor, at + r * file_row_, read_row_, out + r * read_row_));
    return base::OkStatus();
  }
  void Store(const float* from, char* to, size_t n) const {
    if (type_ == DType::kF32) {
      std::memcpy(to, from, n * sizeof(float));
      return;
    }
    if (type_ == DType::kF16) {
      for (size_t i = 0; i < n; ++i) {
        const uint16_t half = tensor::FloatToF16(from[i]);
        std::memcpy(to + 2 * i, &half, 2);
      }
      return;
    }
    uint16_t* out = reinterpret_cast<uint16_t*>(to);
    for (size_t i = 0; i < n; ++i) out[i] = tensor::FloatToBf16(from[i]);
  }
  // File row 2i + j of a head becomes row j * head / 2 + i.
  void Deinterleave(int64_t count, int64_t head) {
    file_.assign(rows_.begin(), rows_.end());
    for (int64_t r = 0; r < count; ++r) {
      const int64_t in_head = r % head, to = r - in_head + in_head % 2 * (head / 2) + in_head / 2;
      std::memcpy(rows_.data() + static_cast<size_t>(to) * row_, file_.data() + static_cast<size_t>(r) * row_,
                  row_);
    }
  }

  const WeightStore& store_;
  const Part& part_;
  const kernels::MatrixOps& ops_;
  const ops::Matrix& matrix_;
  DType file_type_, type_;
  int64_t k_;
  base::Range read_;                               // columns read of each row
  size_t row_;                                     // bytes of a row as stored
  size_t file_row_ = 0, skip_ = 0, read_row_ = 0;  // of a row in the file, before the read columns, of these
  std::vector<char> file_, rows_;
  std::vector<float> floats_;
};

WeightStore::WeightStore(const checkpoint::Checkpoint& checkpoint, const kernels::Table& table,
                         ComputeType compute, const HeadCounts& heads, Shard shard)
    : checkpoint_(checkpoint), table_(table), compute_(compute), heads_(heads), shard_(shard) {}

base::Result<kernels::MatrixKind> WeightStore::KindOf(DType type) const {
  if (compute_ == ComputeType::kBf16) return kernels::kBf16Bf16;
  const bool f32 = compute_ == ComputeType::kF32;
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
    const int64_t panel = part.first_panel + row / kernels::kPanel * part.panel_step;
    (*bias)[static_cast<size_t>(panel * kernels::kPanel + row % kernels::kPanel)] =
        values[static_cast<size_t>(r)];
  }
  return base::OkStatus();
}

base::Result<size_t> WeightStore::AddVector(const TensorRule& rule) {
  FT_ASSIGN_OR_RETURN(const TensorInfo* info, FindTensor(checkpoint_, rule));
  const Owned owned = OwnedPart(rule, heads_, shard_);
  const int64_t row = owned.columns.end;
  FT_CHECK(owned.columns.begin == 0);
  Vector vector{info, std::vector<float>(static_cast<size_t>((owned.rows.end - owned.rows.begin) * row))};
  FT_RETURN_IF_ERROR(ReadVector(*info, {owned.rows.begin * row, owned.rows.end * row}, vector.values.data()));
  bytes_ += vector.values.size() * sizeof(float);
  vectors_.push_back(std::move(vector));
  return vectors_.size() - 1;
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
        base::Status status =
            Packer(*this, stacked, part).Pack(buffer_.data() + stacked.offset, share.begin, share.end);
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
  return base::OkStatus();
}

}  // namespace fusiontree::models
