// Matrix products: packed rows times packed weights.
//
// y[T, N] = x[T, K] · W[N, K]ᵀ. Contractions follow R1, slices and bias R2, epilogues R9 of docs/numerics.md.
// Cost: 2·T·N·K flops; weights are read once per call (T small) or once per pass over the row groups.
#ifndef FUSIONTREE_OPS_LINEAR_H_
#define FUSIONTREE_OPS_LINEAR_H_

#include <cstddef>
#include <cstdint>

#include "kernels/table.h"
#include "ops/context.h"
#include "ops/norm.h"

namespace fusiontree::ops {

inline int64_t PaddedColumns(int64_t n) {
  return (n + kernels::kPanel - 1) / kernels::kPanel * kernels::kPanel;
}

struct MatrixGradient;

// A packed weight: borrowed panels in the layout of the context's kernel table. Several matrices that share
// their input may be stacked, each starting at a panel.
struct Matrix {
  kernels::MatrixKind kind = kernels::kBf16Bf16;
  int64_t k = 0;
  int64_t slices = 1;
  int64_t panels = 0;
  const std::byte* data = nullptr;
  const float* bias = nullptr;               // [panels * 32] or null
  const MatrixGradient* gradient = nullptr;  // of a model that is trained
};

// What the backward of a product needs of its matrix, and adds to.
struct MatrixGradient {
  Matrix transposed;        // Wᵀ [k, 32 panels], one slice; without panels: nothing flows into the input
  float* weight = nullptr;  // [32 panels, PaddedColumns(k)]
  float* bias = nullptr;    // [32 panels], with the matrix's
};

// Packed activations, and what they were packed from.
struct Rows {
  kernels::MatrixKind kind = kernels::kBf16Bf16;
  int64_t m = 0;
  int64_t k = 0;
  int64_t slices = 1;
  const void* data = nullptr;
  const float* source = nullptr;
  int64_t source_stride = 0;
};

// Room for m packed rows of the shape that `matrix` takes; m of any later use must not be larger.
void* TakeRows(Context& context, int64_t m, const Matrix& matrix);

// Rounds x [m, stride] to the matrix's input type and packs it into `space`.
Rows PackRows(Context& context, const float* x, int64_t stride, int64_t m, const Matrix& matrix, void* space);

// RunNorm with norm.n = matrix.k, and packing, in one pass. When `normed` is given ([m, stride]) the fp32
// result is stored there too.
Rows NormRows(Context& context, const Norm& norm, const float* x, int64_t stride, int64_t m,
              const Matrix& matrix, void* space, float* normed, uint8_t* row_ok);

// The product `out` (kStore) of `rows` once more from their source, for a remake (Tape::Drop), and its drop.
void MultiplyAgain(Context& context, const Rows& rows, const Matrix& matrix, float* out, int64_t out_stride);
void DropProduct(Context& context, const Rows& rows, const Matrix& matrix, float* out, int64_t out_stride);

// out [m, out_stride]: see kernels::Epilogue. With kSiluMul the matrix stacks gate and up panels alternately
// and out has half as many columns. Not out of rows that were packed from memory which has changed since.
void Matmul(Context& context, const Rows& rows, const Matrix& matrix, kernels::Epilogue epilogue, float* out,
            int64_t out_stride);

// x[t] = row ids[t] of the packed matrix [V, k], widened to fp32; columns past k are zero. Ids are in range.
void Embed(Context& context, const Matrix& matrix, const int32_t* ids, int64_t m, float* x, int64_t stride);

// Gradients (R10): dx [m, x_stride] is stored, or added to: dy · W, a contraction over the outputs. The
// matrix's own are added to: weight += dyᵀ · x, one contraction over the m rows from zero in their order;
// bias row by row. Operands are rounded as in the forward. dx null: of a constant.
void MatmulBackward(Context& context, const float* x, int64_t x_stride, int64_t m, const Matrix& matrix,
                    const float* dy, int64_t dy_stride, float* dx, bool add);
// Of Embed: row ids[t] of the matrix's gradient += dx[t], in order.
void EmbedBackward(Context& context, const Matrix& matrix, const int32_t* ids, int64_t m, const float* dx,
                   int64_t stride);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_LINEAR_H_
