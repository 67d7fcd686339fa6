#include "verify/oracle_tensors.h"

#include <algorithm>
#include <mutex>

#include "tensor/dequantise.h"

namespace fusiontree::verify {

using base::BadInput;
using base::Result;
using base::Status;
using checkpoint::TensorInfo;

Result<OracleMatrix> OracleTensors::Matrix(const std::string& stem, int64_t rows, int64_t columns) const {
  FT_ASSIGN_OR_RETURN(OracleMatrix out, MatrixNamed(stem + ".weight", rows, columns));
  if (checkpoint_->Find(stem + ".bias")) {
    FT_ASSIGN_OR_RETURN(out.bias, Vector(stem + ".bias", rows));
  }
  return out;
}

Result<OracleMatrix> OracleTensors::MatrixNamed(const std::string& name, int64_t rows,
                                                int64_t columns) const {
  const TensorInfo* info = checkpoint_->Find(name);
  if (!info) return BadInput("tensor {} is missing", name);
  const tensor::DTypeInfo& type = tensor::Info(info->type);
  if (info->shape != std::vector<int64_t>{rows, columns} || !type.is_float ||
      columns % static_cast<int64_t>(type.block) != 0)
    return BadInput("tensor {} is {} {}, expected [{}, {}] of a float type", name, type.name,
                    info->ShapeString(), rows, columns);
  OracleMatrix out;
  out.type = info->type;
  out.exact.rows = rows;
  out.exact.columns = columns;
  out.exact.values.resize(static_cast<size_t>(rows * columns));
  const uint64_t row_bytes = tensor::BytesFor(info->type, static_cast<size_t>(columns));
  constexpr int64_t kStep = 64;  // rows a read
  std::mutex mutex;
  Status failure;
  OracleMath(threads_, false).Parallel((rows + kStep - 1) / kStep, [&](int64_t begin, int64_t end) {
    std::vector<std::byte> bytes(static_cast<size_t>(kStep) * row_bytes);
    for (int64_t row = begin * kStep; row < std::min(end * kStep, rows); row += kStep) {
      const int64_t n = std::min(kStep, rows - row);
      const Status status = checkpoint_->Read(*info, static_cast<uint64_t>(row) * row_bytes,
                                              static_cast<uint64_t>(n) * row_bytes, bytes.data());
      if (!status.ok()) {
        const std::lock_guard<std::mutex> lock(mutex);
        failure = status;
        return;
      }
      tensor::ToFloat(info->type, bytes.data(), static_cast<size_t>(n * columns),
                      out.exact.values.data() + row * columns);
    }
  });
  if (!failure.ok()) return failure;
  return out;
}

Result<std::vector<float>> OracleTensors::Vector(const std::string& name, int64_t size) const {
  const TensorInfo* info = checkpoint_->Find(name);
  if (!info) return BadInput("tensor {} is missing", name);
  const tensor::DTypeInfo& type = tensor::Info(info->type);
  if (info->elements() != size || !type.is_float || size % static_cast<int64_t>(type.block) != 0)
    return BadInput("tensor {} is {} {}, expected [{}] of a float type", name, type.name, info->ShapeString(),
                    size);
  std::vector<std::byte> bytes(info->bytes);
  FT_RETURN_IF_ERROR(checkpoint_->Read(*info, 0, info->bytes, bytes.data()));
  std::vector<float> out(static_cast<size_t>(size));
  tensor::ToFloat(info->type, bytes.data(), out.size(), out.data());
  return out;
}

OracleMatrix RowsOf(const OracleMatrix& matrix, int64_t first, int64_t count) {
  OracleMatrix out;
  out.type = matrix.type;
  out.exact.rows = count;
  out.exact.columns = matrix.exact.columns;
  const auto from = matrix.exact.values.begin() + first * matrix.exact.columns;
  out.exact.values.assign(from, from + count * matrix.exact.columns);
  if (!matrix.bias.empty()) out.bias.assign(matrix.bias.begin() + first, matrix.bias.begin() + first + count);
  return out;
}

}  // namespace fusiontree::verify
