// Sums the gradients of the slots of one step by R2's tree over their count (R10), holding a few at a time.
#ifndef FUSIONTREE_TRAIN_SLOT_SUM_H_
#define FUSIONTREE_TRAIN_SLOT_SUM_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "ops/context.h"

namespace fusiontree::train {

class SlotSum {
 public:
  explicit SlotSum(int64_t size) : size_(size) {}

  // `compute(slot, out)` fills out [size]. Slots [0, slots) are asked for in ascending order; returns the sum
  // by the tree that halves an even count and adds an odd one from left to right. Valid until the next call.
  base::Result<float*> Run(ops::Context& context, int64_t slots,
                           const std::function<base::Status(int64_t slot, float* out)>& compute);

 private:
  base::Status Sum(ops::Context& context, int64_t first, int64_t count, size_t depth,
                   const std::function<base::Status(int64_t, float*)>& compute);
  std::vector<float>& Buffer(size_t depth);

  int64_t size_;
  std::vector<std::vector<float>> buffers_;  // of each depth of the tree
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SLOT_SUM_H_
