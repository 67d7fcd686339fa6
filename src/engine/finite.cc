#include "engine/finite.h"

#include <fmt/format.h>

#include <cmath>

namespace fusiontree::engine {

void FiniteProbe::Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
                          int64_t stride) {
  if (!first_.empty()) return;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      if (!std::isfinite(value[r * stride + c])) {
        first_ = layer < 0 ? fmt::format("{}, row {}", op, r) : fmt::format("layer {}, {}, row {}", layer, op, r);
        return;
      }
}

}  // namespace fusiontree::engine
