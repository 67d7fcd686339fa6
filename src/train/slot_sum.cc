#include "train/slot_sum.h"

namespace fusiontree::train {

std::vector<float>& SlotSum::Buffer(size_t depth) {
  while (buffers_.size() <= depth) buffers_.emplace_back(static_cast<size_t>(size_));
  return buffers_[depth];
}

base::Result<float*> SlotSum::Run(ops::Context& context, int64_t slots,
                                  const std::function<base::Status(int64_t, float*)>& compute) {
  FT_RETURN_IF_ERROR(Sum(context, 0, slots, 0, compute));
  return Buffer(0).data();
}

base::Status SlotSum::Sum(ops::Context& context, int64_t first, int64_t count, size_t depth,
                          const std::function<base::Status(int64_t, float*)>& compute) {
  if (count == 1) return compute(first, Buffer(depth).data());
  const int64_t parts = count % 2 == 0 ? 2 : count, part = count / parts;
  FT_RETURN_IF_ERROR(Sum(context, first, part, depth, compute));
  for (int64_t p = 1; p < parts; ++p) {
    FT_RETURN_IF_ERROR(Sum(context, first + p * part, part, depth + 1, compute));
    const float* from = Buffer(depth + 1).data();
    float* to = Buffer(depth).data();
    context.For(size_, 4096, 2, [&](int, base::Range share) {
      for (int64_t i = share.begin; i < share.end; ++i) to[i] += from[i];
    });
  }
  return base::OkStatus();
}

}  // namespace fusiontree::train
