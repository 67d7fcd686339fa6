// Weights in memory: one buffer of packed panels for all matrices, filled straight from the file by all
// threads, each thread packing the panels that it will read; and fp32 vectors. A rank of several holds, and
// reads, what its shard owns.
#ifndef FUSIONTREE_MODELS_WEIGHT_STORE_H_
#define FUSIONTREE_MODELS_WEIGHT_STORE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "models/model.h"
#include "models/sharding.h"
#include "ops/linear.h"

namespace fusiontree::models {

// Plans first (AddMatrix, AddVector), then Load reads everything once.
class WeightStore {
 public:
  WeightStore(const checkpoint::Checkpoint& checkpoint, const kernels::Table& table, ComputeType compute,
              const HeadCounts& heads, Shard shard);

  // How the parts of a stack lie in its panels.
  enum class Stack {
    kInOrder,    // part after part, each starting at a panel
    kAlternate,  // panel 0 of each part, panel 1 of each part, ...: gate and up of kernels::kSiluMul
  };
  // One matrix of parts that share their input (same columns). All parts take one kind: the file's type where
  // they agree, fp32 (exact) where they differ. `biases` is empty or has one rule a part. `slices` are those
  // of the whole matrix; where ranks cut its columns each holds its share of them. Returns the matrix's
  // index.
  base::Result<size_t> AddMatrix(const std::vector<TensorRule>& parts, const std::vector<TensorRule>& biases,
                                 Stack stack, int64_t slices);
  // A vector, or a small tensor, widened to fp32: the owned rows of it. Returns its index.
  base::Result<size_t> AddVector(const TensorRule& rule);

  // Reads and packs everything. An infinite or NaN weight is an error that names its tensor.
  base::Status Load(ops::Context& context, const std::function<void(double)>& progress);

  size_t matrix_count() const { return matrices_.size(); }
  const ops::Matrix& matrix(size_t index) const { return matrices_[index].matrix; }
  const float* vector(size_t index) const { return vectors_[index].values.data(); }
  // First output column of part `part` of a kInOrder stack.
  int64_t PartColumn(size_t matrix, size_t part) const;
  size_t MatrixBytes(size_t index) const;
  size_t bytes() const { return bytes_; }  // of everything

 private:
  struct Part {
    const checkpoint::TensorInfo* tensor;
    TensorRule rule;
    Owned owned;
    int64_t first_panel;  // of the stack
    int64_t panel_step;   // 1, or the number of parts when they alternate
    int64_t panels;
  };
  struct Stacked {
    ops::Matrix matrix;
    std::vector<Part> parts;
    std::vector<float> bias;
    size_t offset = 0;  // of panel 0 in buffer_
  };
  struct Vector {
    const checkpoint::TensorInfo* tensor;
    std::vector<float> values;
  };
  class Packer;

  base::Result<kernels::MatrixKind> KindOf(tensor::DType type) const;
  base::Status PlaceBias(const TensorRule& rule, const Part& part, std::vector<float>* bias) const;
  // Elements [range.begin, range.end), widened.
  base::Status ReadVector(const checkpoint::TensorInfo& tensor, base::Range range, float* out) const;

  const checkpoint::Checkpoint& checkpoint_;
  const kernels::Table& table_;
  ComputeType compute_;
  HeadCounts heads_;
  Shard shard_;
  std::vector<Stacked> matrices_;
  std::vector<Vector> vectors_;
  tensor::Buffer buffer_;
  size_t bytes_ = 0;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_WEIGHT_STORE_H_
