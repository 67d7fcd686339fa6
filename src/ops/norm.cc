#include "ops/norm.h"

#include <cstring>

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;

bool NormRow(const kernels::Table& table, const Norm& norm, const float* from, float* to) {
  return norm.layer ? table.layer_norm(from, norm.weight, norm.bias, norm.n, norm.eps, to)
                    : table.rms_norm(from, norm.weight, norm.n, norm.eps, to);
}

}  // namespace

void NormColumns(Context& context, const Norm& norm, float* x, int64_t stride, int64_t m, uint8_t* row_ok) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      if (!NormRow(context.kernels(), norm, x + r * stride, x + r * stride)) row_ok[r] = 0;
  });
}

void RunNorm(Context& context, const Norm& norm, const float* x, int64_t stride, int64_t m, float* out,
             uint8_t* row_ok) {
  if (norm.weight == nullptr) {
    if (out != x) std::memcpy(out, x, static_cast<size_t>(m * stride) * sizeof(float));
    return;
  }
  const kernels::Table& table = context.kernels();
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      const float* from = x + r * stride;
      float* to = out + r * stride;
      if (!NormRow(table, norm, from, to)) row_ok[r] = 0;
      std::memset(to + norm.n, 0, static_cast<size_t>(stride - norm.n) * sizeof(float));
    }
  });
}

}  // namespace fusiontree::ops
