// Weights in memory: one buffer of packed panels for all matrices, filled straight from the file by all
// threads, each thread packing the panels that it will read; and fp32 vectors. A rank of several holds, and
// reads, what its shard owns. Of a model that is trained also the gradients, in the layout of what they are
// of.
#ifndef FUSIONTREE_MODELS_WEIGHT_STORE_H_
#define FUSIONTREE_MODELS_WEIGHT_STORE_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "models/model.h"
#include "models/sharding.h"
#include "models/trainable.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/sequence.h"

namespace fusiontree::models {

constexpr size_t kNone = SIZE_MAX;  // in place of an index

// Plans first (AddMatrix, AddVector), then Load reads everything once.
class WeightStore {
 public:
  WeightStore(const checkpoint::Checkpoint& checkpoint, const kernels::Table& table,
              const ModelOptions& options, const HeadCounts& heads, Shard shard);

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
  // How a vector lies in memory.
  enum class Form {
    kAsStored,
    kByChannel,  // [rows, columns] as [columns, rows padded to whole panels with zeros]
    kDecay,      // the same of a = -exp(A_log) log2(e), so that exp(delta A) = 2^(delta a)
  };
  // A vector, or a small tensor, widened to fp32: the owned rows of it. Returns its index.
  base::Result<size_t> AddVector(const TensorRule& rule, Form form = Form::kAsStored);

  // Reads and packs everything. An infinite or NaN weight is an error that names its tensor.
  base::Status Load(ops::Context& context, const std::function<void(double)>& progress);

  size_t matrix_count() const { return matrices_.size(); }
  const ops::Matrix& matrix(size_t index) const { return matrices_[index].matrix; }
  const float* vector(size_t index) const { return vectors_[index].values.data(); }
  // Of a vector, in its form; null unless the model is trained.
  float* gradient(size_t index) const { return vectors_[index].gradient; }
  // Of vectors; `bias` may be kNone.
  ops::Norm MakeNorm(size_t weight, float eps, size_t bias = kNone, bool layer_norm = false) const;
  ops::Convolution MakeConvolution(size_t weight, size_t bias, int64_t width, int64_t channels,
                                   kernels::ConvEnd end) const;
  // First output column of part `part` of a kInOrder stack.
  int64_t PartColumn(size_t matrix, size_t part) const;
  size_t MatrixBytes(size_t index) const;
  size_t bytes() const { return bytes_; }  // of everything but gradients

  // Of a model that is trained, after Load: see Trainable.
  bool trainable() const { return options_.trainable; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  void ZeroGradients(ops::Context& context);
  void ReadGradient(size_t parameter, float* out) const;
  base::Status Refresh(ops::Context& context, const std::vector<const float*>& values);

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
    std::vector<TensorRule> biases;  // one a part, or none
    std::vector<float> bias;
    size_t offset = 0;             // of panel 0 in buffer_
    size_t transposed_offset = 0;  // of the transposed matrix's
    std::unique_ptr<ops::MatrixGradient> gradient;
  };
  struct Vector {
    const checkpoint::TensorInfo* tensor;
    Form form;
    int64_t first, rows, columns;  // of the tensor's rows those that are held
    std::vector<float> values;     // in the form
    float* gradient = nullptr;
  };
  // Where a parameter lies: parts of matrices and of biases (matrix, part), and a vector.
  struct Place {
    std::vector<std::pair<size_t, size_t>> parts, biases;
    size_t vector = kNone;
  };
  class Packer;

  base::Result<kernels::MatrixKind> KindOf(tensor::DType type) const;
  base::Status PlaceBias(const TensorRule& rule, const Part& part, std::vector<float>* bias) const;
  // The form of values [rows, columns] as stored.
  void Shape(const float* stored, Vector* vector) const;
  base::Status PrepareTraining(ops::Context& context);
  void PackTransposed(ops::Context& context, const Stacked& stacked);
  // Row `row` of a part among the rows of its stack, which lie 32 a panel.
  static int64_t StackRow(const Part& part, int64_t row) {
    return (part.first_panel + row / kernels::kPanel * part.panel_step) * kernels::kPanel +
           row % kernels::kPanel;
  }
  // Elements [range.begin, range.end), widened.
  base::Status ReadVector(const checkpoint::TensorInfo& tensor, base::Range range, float* out) const;

  const checkpoint::Checkpoint& checkpoint_;
  const kernels::Table& table_;
  ModelOptions options_;
  HeadCounts heads_;
  Shard shard_;
  std::vector<Stacked> matrices_;
  std::vector<Vector> vectors_;
  tensor::Buffer buffer_;
  size_t bytes_ = 0;

  tensor::Buffer transposed_, gradients_;
  std::vector<Parameter> parameters_;
  std::vector<Place> places_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_WEIGHT_STORE_H_
