// The oracle's own reading of tensors, whatever the family: in fp32, the exact value of what the file holds.
#ifndef FUSIONTREE_VERIFY_ORACLE_TENSORS_H_
#define FUSIONTREE_VERIFY_ORACLE_TENSORS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "verify/oracle_math.h"

namespace fusiontree::verify {

struct OracleMatrix {
  Weight exact;             // as the file holds it
  std::vector<float> bias;  // [rows] or empty
  tensor::DType type = tensor::DType::kF32;
};

class OracleTensors {
 public:
  // Borrows the checkpoint, which outlives it.
  OracleTensors(const checkpoint::Checkpoint* checkpoint, int threads)
      : checkpoint_(checkpoint), threads_(threads) {}

  bool Has(const std::string& name) const { return checkpoint_->Find(name) != nullptr; }
  // stem.weight [rows, columns], and stem.bias where the file has one.
  base::Result<OracleMatrix> Matrix(const std::string& stem, int64_t rows, int64_t columns) const;
  base::Result<OracleMatrix> MatrixNamed(const std::string& name, int64_t rows, int64_t columns) const;
  // `size` elements, whatever their shape.
  base::Result<std::vector<float>> Vector(const std::string& name, int64_t size) const;

 private:
  const checkpoint::Checkpoint* checkpoint_;
  int threads_;
};

// Some rows of a matrix, with their biases.
OracleMatrix RowsOf(const OracleMatrix& matrix, int64_t first, int64_t count);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_TENSORS_H_
