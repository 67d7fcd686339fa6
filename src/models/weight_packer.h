// How a part of a stack of matrices gets into its panels. For the store's own files.
#ifndef FUSIONTREE_MODELS_WEIGHT_PACKER_H_
#define FUSIONTREE_MODELS_WEIGHT_PACKER_H_

#include <algorithm>
#include <cstring>
#include <vector>

#include "models/weight_store.h"
#include "tensor/dequantise.h"
#include "tensor/dtype.h"

namespace fusiontree::models {

// About this much of a file at a time: it stays in the second-level cache until it is packed.
constexpr int64_t kReadBytes = 1 << 20;

inline tensor::DType StoredType(kernels::MatrixKind kind) {
  if (kind == kernels::kF32F32) return tensor::DType::kF32;
  return kind == kernels::kF16F32 ? tensor::DType::kF16 : tensor::DType::kBF16;
}

// Packs the panels of one thread's share, through buffers of its own.
class WeightStore::Packer {
 public:
  // From the file, or from `values`: the whole tensor in fp32.
  Packer(const WeightStore& store, const Stacked& stacked, const Part& part, const float* values)
      : store_(store),
        part_(part),
        values_(values),
        ops_(store.table_.matrix[stacked.matrix.kind]),
        matrix_(stacked.matrix),
        file_type_(values ? tensor::DType::kF32 : part.tensor->type),
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
    if (values_ != nullptr) {
      for (size_t r = 0; r < count; ++r)
        std::memcpy(out + r * read_row_, reinterpret_cast<const char*>(values_) + at + r * file_row_,
                    read_row_);
      return base::OkStatus();
    }
    if (read_row_ == file_row_) return store_.checkpoint_.Read(*part_.tensor, at, count * file_row_, out);
    for (size_t r = 0; r < count; ++r)
      FT_RETURN_IF_ERROR(
          store_.checkpoint_.Read(*part_.tensor, at + r * file_row_, read_row_, out + r * read_row_));
    return base::OkStatus();
  }
  void Store(const float* from, char* to, size_t n) const {
    if (type_ == tensor::DType::kF32) {
      std::memcpy(to, from, n * sizeof(float));
      return;
    }
    if (type_ == tensor::DType::kF16) {
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
  const float* values_;
  const kernels::MatrixOps& ops_;
  const ops::Matrix& matrix_;
  tensor::DType file_type_, type_;
  int64_t k_;
  base::Range read_;                               // columns read of each row
  size_t row_;                                     // bytes of a row as stored
  size_t file_row_ = 0, skip_ = 0, read_row_ = 0;  // of a row in the file, before the read columns, of these
  std::vector<char> file_, rows_;
  std::vector<float> floats_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_WEIGHT_PACKER_H_
