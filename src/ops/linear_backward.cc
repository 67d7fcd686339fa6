// The backward of a matrix product as two more products of the same kernels: dx = dy · W with Wᵀ as the
// matrix, dW = dyᵀ · x with dyᵀ as the rows and xᵀ as the matrix.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "ops/linear.h"
#include "tensor/dtype.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;
constexpr int64_t kBlock = 16;  // rows and columns transposed at a time: both sides stay in cache

// out[c][t] = x[t][c], c < columns, t < m; rows of out `m` apart.
void Transpose(const float* x, int64_t stride, int64_t m, int64_t columns, float* out) {
  for (int64_t t = 0; t < m; t += kBlock) {
    const int64_t rows = std::min(kBlock, m - t);
    for (int64_t c = 0; c < columns; c += kBlock) {
      const int64_t count = std::min(kBlock, columns - c);
      for (int64_t j = 0; j < count; ++j)
        for (int64_t i = 0; i < rows; ++i) out[(c + j) * m + t + i] = x[(t + i) * stride + c + j];
    }
  }
}

kernels::MatrixKind KindOfGradient(kernels::MatrixKind kind) {
  return kind == kernels::kBf16Bf16 ? kernels::kBf16Bf16 : kernels::kF32F32;
}

// xᵀ [columns, m] as a packed matrix.
Matrix PackTransposed(Context& context, const float* x, int64_t stride, int64_t m, int64_t columns,
                      kernels::MatrixKind kind) {
  const kernels::MatrixOps& ops = context.kernels().matrix[kind];
  const size_t panel_bytes = ops.panel_bytes(m, 1);
  Matrix matrix{.kind = kind, .k = m, .slices = 1, .panels = PaddedColumns(columns) / kernels::kPanel};
  std::byte* data =
      static_cast<std::byte*>(context.scratch().Take(static_cast<size_t>(matrix.panels) * panel_bytes));
  float* space = context.scratch().TakeArray<float>(context.pool().size() * kernels::kPanel * m);
  context.For(matrix.panels, 1, 1, [&](int thread, base::Range share) {
    float* turned = space + thread * kernels::kPanel * m;
    for (int64_t p = share.begin; p < share.end; ++p) {
      const int64_t first = p * kernels::kPanel, count = std::min(kernels::kPanel, columns - first);
      Transpose(x + first, stride, m, count, turned);
      size_t row_bytes = static_cast<size_t>(m) * sizeof(float);
      if (kind == kernels::kBf16Bf16) {
        uint16_t* rounded = reinterpret_cast<uint16_t*>(turned);
        for (int64_t i = 0; i < count * m; ++i) rounded[i] = tensor::FloatToBf16(turned[i]);
        row_bytes /= 2;
      }
      // What is not finite goes on as it is: the step finds it in the gradients.
      ops.pack_weight(turned, row_bytes, count, m, 1, data + static_cast<size_t>(p) * panel_bytes);
    }
  });
  matrix.data = data;
  return matrix;
}

// xᵀ [columns, m] as packed rows for `matrix`.
Rows PackTransposedRows(Context& context, const float* x, int64_t stride, int64_t m, int64_t columns,
                        const Matrix& matrix) {
  const kernels::MatrixOps& ops = context.kernels().matrix[matrix.kind];
  const int64_t group = ops.rows_per_group, groups = (columns + group - 1) / group;
  const int64_t batch = std::max<int64_t>(1, 4 * kBlock / group);  // groups at a time
  void* data = TakeRows(context, columns, matrix);
  float* space = context.scratch().TakeArray<float>(context.pool().size() * batch * group * m);
  context.For(groups, 1, 1, [&](int thread, base::Range share) {
    float* turned = space + thread * batch * group * m;
    for (int64_t g = share.begin; g < share.end; g += batch) {
      const int64_t end = std::min(g + batch, share.end);
      const int64_t first = g * group, count = std::min(end * group, columns) - first;
      Transpose(x + first, stride, m, count, turned);
      ops.pack_rows(turned - first * m, m, columns, m, 1, g, end, data);
    }
  });
  return {matrix.kind, columns, m, 1, data, nullptr, 0};
}

}  // namespace

void MatmulBackward(Context& context, const float* x, int64_t x_stride, int64_t m, const Matrix& matrix,
                    const float* dy, int64_t dy_stride, float* dx, bool add) {
  const Context::Scope scope(context);
  const MatrixGradient& gradient = *matrix.gradient;
  const int64_t outputs = matrix.panels * kernels::kPanel, inputs = PaddedColumns(matrix.k);
  FT_CHECK(gradient.weight != nullptr && x_stride >= inputs && dy_stride >= outputs);
  Tape* tape = context.tape();
  context.set_tape(nullptr);  // its own products have no backward
  if (dx != nullptr) {
    const Matrix& transposed = gradient.transposed;
    FT_CHECK(transposed.k == outputs && transposed.panels * kernels::kPanel == inputs);
    const Rows rows = PackRows(context, dy, dy_stride, m, transposed, TakeRows(context, m, transposed));
    Matmul(context, rows, transposed, add ? kernels::kAdd : kernels::kStore, dx, x_stride);
  }
  const Matrix turned = PackTransposed(context, x, x_stride, m, matrix.k, KindOfGradient(matrix.kind));
  const Rows rows = PackTransposedRows(context, dy, dy_stride, m, outputs, turned);
  Matmul(context, rows, turned, kernels::kAdd, gradient.weight, inputs);
  if (gradient.bias != nullptr) {
    context.For(outputs, kernels::kPanel, m * outputs < 4096 ? outputs + 1 : 0, [&](int, base::Range share) {
      for (int64_t t = 0; t < m; ++t)
        for (int64_t i = share.begin; i < share.end; ++i) gradient.bias[i] += dy[t * dy_stride + i];
    });
  }
  context.set_tape(tape);
}

void EmbedBackward(Context& context, const Matrix& matrix, const int32_t* ids, int64_t m, const float* dx,
                   int64_t stride) {
  const int64_t width = PaddedColumns(matrix.k);
  float* weight = matrix.gradient->weight;
  context.For(width, kernels::kPanel, m < kCheapRows ? width + 1 : 0, [&](int, base::Range share) {
    for (int64_t t = 0; t < m; ++t)
      for (int64_t i = share.begin; i < share.end; ++i) weight[ids[t] * width + i] += dx[t * stride + i];
  });
}

}  // namespace fusiontree::ops
