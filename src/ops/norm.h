// Normalisation of rows: RMSNorm x / sqrt(mean x² + eps) * weight, or LayerNorm (x - mean) / sqrt(biased
// variance + eps)
// * weight + bias (R1 of docs/numerics.md: 16 lanes and a fixed tree). Memory-bound.
#ifndef FUSIONTREE_OPS_NORM_H_
#define FUSIONTREE_OPS_NORM_H_

#include <cstdint>

#include "ops/context.h"

namespace fusiontree::ops {

struct Norm {
  const float* weight = nullptr;  // [n]; null: there is no norm, and nothing is run
  const float* bias = nullptr;    // [n] of a LayerNorm, or null
  int64_t n = 0;
  float eps = 0.0f;
  bool layer = false;
  float *dweight = nullptr, *dbias = nullptr;  // [n] each, of a model that is trained
};

// One row, whose columns past n become zero up to `stride`. False where it is not finite.
bool NormRow(Context& context, const Norm& norm, const float* x, int64_t stride, float* out);

// out [m, stride] may be x; columns past n become zero. row_ok[i] becomes 0 where the row is not finite. With
// a tape it returns what writes `out` again, for Context::Drop.
std::function<void()> RunNorm(Context& context, const Norm& norm, const float* x, int64_t stride, int64_t m,
                              float* out, uint8_t* row_ok);

// In place, on columns [0, norm.n) of rows `stride` apart; the others stay.
void NormColumns(Context& context, const Norm& norm, float* x, int64_t stride, int64_t m, uint8_t* row_ok);

// In place, on each of `heads` runs of norm.n columns side by side.
void NormHeads(Context& context, const Norm& norm, float* x, int64_t stride, int64_t m, int64_t heads,
               uint8_t* row_ok);

// Gradients: dx [m, dx_stride], of `heads` runs of norm.n columns, is stored (it may be dy with its stride)
// or added to. The norm's own are added to row by row, heads ascending.
void NormBackward(Context& context, const Norm& norm, const float* x, int64_t x_stride, int64_t m,
                  int64_t heads, const float* dy, int64_t dy_stride, float* dx, int64_t dx_stride, bool add);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_NORM_H_
