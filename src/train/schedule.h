// What changes over a run, as functions of the tokens seen before a step (R6: no libm result).
#ifndef FUSIONTREE_TRAIN_SCHEDULE_H_
#define FUSIONTREE_TRAIN_SCHEDULE_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace fusiontree::train {

// Linear between points [tokens, value], constant before the first and after the last.
struct Schedule {
  std::vector<std::pair<double, double>> points = {{0.0, 0.0}};
  double At(int64_t tokens) const;
};

// The learning rate's factor, 0 to 1: linear over the first `warmup` tokens, then
//   cosine  half a cosine from 1 to `final` at the end of the run,
//   wsd     1, and over the last `decay` tokens linear to `final` (warm-up, stable, decay),
//   constant 1.
enum class Shape { kCosine, kWsd, kConstant };
struct LearningRate {
  Shape shape = Shape::kCosine;
  int64_t warmup = 0, decay = 0, total = 0;
  double final = 0.1;
  // Of a step that ends at `tokens`: the first step is warm too.
  double Factor(int64_t tokens) const;
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SCHEDULE_H_
