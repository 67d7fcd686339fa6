#include "ops/finite_probe.h"

#include <fmt/format.h>

namespace fusiontree::ops {

void FiniteProbe::Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
                          int64_t stride) {
  for (int64_t r = 0; r < rows && where_.empty(); ++r) {
    if (table_.all_finite(value + r * stride, columns)) continue;
    where_ = layer < 0 ? std::string(op) : fmt::format("layer {}, {}", layer, op);
    row_ = r;
  }
}

}  // namespace fusiontree::ops
