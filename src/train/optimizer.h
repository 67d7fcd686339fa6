// AdamW (Loshchilov and Hutter, 2019) over all parameters one after another in the order of their names,
// fp32, and the clipping before it. An element's arithmetic is one fixed sequence of operations, so threads
// and ranks share the elements in any way.
#ifndef FUSIONTREE_TRAIN_OPTIMIZER_H_
#define FUSIONTREE_TRAIN_OPTIMIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/trainable.h"
#include "ops/context.h"

namespace fusiontree::train {

constexpr int64_t kSquareBlock = 4096;  // elements of one sum of squares (R10)

// Of the parameters whose names have `match` in them.
struct ParameterGroup {
  std::string match;
  double learning_rate_factor = 1.0;
  std::optional<double> weight_decay;  // instead of the run's
};

// Where each parameter lies among all elements.
class Layout {
 public:
  explicit Layout(const std::vector<models::Parameter>& parameters);
  int64_t size() const { return offsets_.back(); }
  size_t count() const { return names_.size(); }
  int64_t offset(size_t parameter) const { return offsets_[parameter]; }
  const std::string& name(size_t parameter) const { return names_[parameter]; }
  const std::vector<int64_t>& shape(size_t parameter) const { return shapes_[parameter]; }
  // Weight decay is of matrices alone: never of A_log, D, biases, convolutions, norms, embeddings, tables.
  bool decays(size_t parameter) const { return decays_[parameter]; }
  size_t ParameterAt(int64_t element) const;

  // Of several groups that a name matches, the last counts. A group that no name matches is an error.
  base::Status SetGroups(const std::vector<ParameterGroup>& groups);
  const ParameterGroup& group(size_t parameter) const { return groups_[parameter]; }

 private:
  std::vector<int64_t> offsets_ = {0};
  std::vector<std::string> names_;
  std::vector<std::vector<int64_t>> shapes_;
  std::vector<bool> decays_;
  std::vector<ParameterGroup> groups_;
};

struct AdamW {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  double clip = 1.0;  // of the norm of all gradients; 0: none
};

// The sums of squares of whole blocks, added in order: sqrt of it is the norm. NaN or infinite where an
// element is.
double SumOfSquares(ops::Context& context, const float* gradient, int64_t size);

// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g²;  w -= rate (m^ / (sqrt(v^) + eps) + decay w), with g scaled
// by `scale` and ^ divided by 1 - b^step (step from 1). `count` elements of one parameter.
struct AdamStep {
  AdamW settings;
  double rate = 0.0;  // with the schedule's factor
  int64_t step = 1;
  float scale = 1.0f;
};
void RunAdam(const AdamStep& step, bool decays, const float* gradient, float* w, float* m, float* v,
             int64_t count);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_OPTIMIZER_H_
