// Element-wise functions (R6 of docs/numerics.md), sums, and how FusionTree joins its branches. Memory-bound.
// Columns past a value's width are zero and stay so.
#ifndef FUSIONTREE_OPS_ELEMENTWISE_H_
#define FUSIONTREE_OPS_ELEMENTWISE_H_

#include <cstdint>
#include <vector>

#include "ops/context.h"
#include "ops/linear.h"

namespace fusiontree::ops {

// out [m, out_stride] = f(x [m, x_stride]), columns [0, n). With a tape `out` is not `x`, and nothing else
// reads these columns of x.
void Apply(Context& context, kernels::Function function, const float* x, int64_t x_stride, int64_t m,
           int64_t n, float* out, int64_t out_stride);

// out [m, out_stride] = x [m, x_stride], columns [0, n) and zeros after them.
void Copy(Context& context, const float* x, int64_t x_stride, int64_t m, int64_t n, float* out,
          int64_t out_stride);

// out = x + y, all [m, stride].
void Add(Context& context, const float* x, const float* y, int64_t stride, int64_t m, float* out);

// x += y, both [m, stride].
void AddTo(Context& context, const float* y, int64_t stride, int64_t m, float* x);

// A table of rows [.., columns], and its gradient in a model that is trained.
struct RowTable {
  const float* rows;
  float* drows;
  int64_t columns;
};
// out [m, out_stride]: row which[t] of the table, zeros after it. Its gradient is added to in order.
void Gather(Context& context, const RowTable& table, const std::vector<int64_t>& which, float* out,
            int64_t out_stride);

// out [m, out_stride] = silu(gate) * up of the rows times a matrix that stacks gate and up panels
// alternately: Matmul with kSiluMul, or with a tape the same bits in two steps, of which it returns the
// second for Context::Drop.
std::function<void()> GatedMatmul(Context& context, const Rows& rows, const Matrix& matrix, float* out,
                                  int64_t out_stride);

// Two branches, of which one may be null: it is zero then. [m, stride], columns [0, n).
struct Branches {
  const float *mamba, *attention;
  int64_t stride;
};
// out [m, out_stride] = g m + (1 - g) a. gate [m, gate_stride]: a column each, or (`one_gate`) column 0 for
// all. Null gate: one half. Neither branch is null.
void Mix(Context& context, const float* gate, int64_t gate_stride, bool one_gate, const Branches& branches,
         int64_t m, int64_t n, float* out, int64_t out_stride);
// out [m, out_stride] = [m ; a] side by side, of `two` halves, or of the one that is there.
void Join(Context& context, const Branches& branches, bool two, int64_t m, int64_t n, float* out,
          int64_t out_stride);
// out [m, branches.stride] = (m + a) / 2.
void Average(Context& context, const Branches& branches, int64_t m, float* out);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_ELEMENTWISE_H_
