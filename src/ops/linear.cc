#include "ops/linear.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;  // packing fewer rows than this costs less than a fork

}  // namespace

void* TakeRows(Context& context, int64_t m, const Matrix& matrix) {
  return context.scratch().Take(context.kernels().matrix[matrix.kind].rows_bytes(m, matrix.k, matrix.slices));
}

Rows PackRows(Context& context, const float* x, int64_t stride, int64_t m, const Matrix& matrix,
              void* space) {
  const kernels::MatrixOps& ops = context.kernels().matrix[matrix.kind];
  const int64_t groups = (m + ops.rows_per_group - 1) / ops.rows_per_group;
  context.For(m, ops.rows_per_group, kCheapRows, [&](int, base::Range share) {
    const int64_t end = share.end == m ? groups : share.end / ops.rows_per_group;
    ops.pack_rows(x, stride, m, matrix.k, matrix.slices, share.begin / ops.rows_per_group, end, space);
  });
  return {matrix.kind, m, matrix.k, matrix.slices, space, x, stride};
}

Rows NormRows(Context& context, const Norm& norm, const float* x, int64_t stride, int64_t m,
              const Matrix& matrix, void* space, float* normed, uint8_t* row_ok) {
  FT_CHECK(norm.n == matrix.k);
  if (context.tape() != nullptr) {
    float* out = context.Take(m * stride);
    RunNorm(context, norm, x, stride, m, out, row_ok);
    if (normed) std::memcpy(normed, out, static_cast<size_t>(m * stride) * sizeof(float));
    return PackRows(context, out, stride, m, matrix, space);
  }
  const kernels::MatrixOps& ops = context.kernels().matrix[matrix.kind];
  const int64_t group = ops.rows_per_group;
  // The rows of a group are normed into scratch (or `normed`) and packed from there while they are in cache.
  FT_CHECK(static_cast<size_t>(group * stride) * sizeof(float) <= kOpScratchBytes || normed != nullptr ||
           m == 0);
  context.For(m, group, kCheapRows, [&](int thread, base::Range share) {
    float* scratch = static_cast<float*>(context.OpScratch(thread));
    for (int64_t row = share.begin; row < share.end; row += group) {
      const int64_t end = std::min(row + group, share.end);
      float* to = normed ? normed + row * stride : scratch;
      for (int64_t r = row; r < end; ++r)
        if (!NormRow(context, norm, x + r * stride, stride, to + (r - row) * stride)) row_ok[r] = 0;
      // pack_rows addresses rows from the start of the matrix: shift the base so that row `row` is `to`.
      ops.pack_rows(to - row * stride, stride, m, matrix.k, matrix.slices, row / group, row / group + 1,
                    space);
    }
  });
  return {matrix.kind, m, matrix.k, matrix.slices, space, nullptr, 0};
}

void Matmul(Context& context, const Rows& rows, const Matrix& matrix, kernels::Epilogue epilogue, float* out,
            int64_t out_stride) {
  FT_CHECK(rows.kind == matrix.kind && rows.k == matrix.k && rows.slices == matrix.slices);
  const kernels::MatrixOps& ops = context.kernels().matrix[matrix.kind];
  const int64_t unit = epilogue == kernels::kSiluMul ? 2 : 1;
  FT_CHECK(matrix.panels % unit == 0 && out_stride >= matrix.panels / unit * kernels::kPanel);
  if (matrix.panels == 0) return;  // a rank without vocabulary
  const int64_t groups = (rows.m + ops.rows_per_group - 1) / ops.rows_per_group;
  // Threads split panels; where these are fewer than the threads, also row groups.
  const int threads = context.pool().size();
  const int panel_parts = static_cast<int>(std::min<int64_t>(threads, matrix.panels / unit));
  const int group_parts = static_cast<int>(std::clamp<int64_t>(threads / panel_parts, 1, groups));
  context.pool().Run([&](int thread) {
    if (thread >= panel_parts * group_parts) return;
    const base::Range panels = base::Share(matrix.panels, unit, thread % panel_parts, panel_parts);
    const base::Range share = base::Share(groups, 1, thread / panel_parts, group_parts);
    if (panels.begin == panels.end || share.begin == share.end) return;
    kernels::MatmulArgs args;
    args.rows = rows.data;
    args.m = rows.m;
    args.group_begin = share.begin;
    args.group_end = share.end;
    args.weight = matrix.data;
    args.k = matrix.k;
    args.slices = matrix.slices;
    args.panel_begin = panels.begin;
    args.panel_end = panels.end;
    args.epilogue = epilogue;
    args.bias = matrix.bias;
    args.out = out;
    args.out_stride = out_stride;
    args.scratch = context.KernelScratch(thread);
    ops.matmul(&args);
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  FT_CHECK(unit == 1 && rows.source != nullptr && matrix.gradient != nullptr);
  tape->Record(out, [&context, tape, rows, matrix, out, out_stride] {
    // A part of an array, whose other columns are another's.
    const bool whole = rows.source_stride == PaddedColumns(matrix.k);
    bool add = true;
    float* dx = whole ? tape->WholeGradient(rows.source, &add) : tape->Gradient(rows.source);
    MatmulBackward(context, rows.source, rows.source_stride, rows.m, matrix, tape->Gradient(out), out_stride,
                   dx, add);
  });
}

void MultiplyAgain(Context& context, const Rows& rows, const Matrix& matrix, float* out, int64_t out_stride) {
  const Context::Scope scope(context);
  const Rows again =
      PackRows(context, rows.source, rows.source_stride, rows.m, matrix, TakeRows(context, rows.m, matrix));
  Matmul(context, again, matrix, kernels::kStore, out, out_stride);
}

void DropProduct(Context& context, const Rows& rows, const Matrix& matrix, float* out, int64_t out_stride) {
  context.Drop(out, [&context, rows, matrix, out, out_stride] {
    MultiplyAgain(context, rows, matrix, out, out_stride);
  });
}

void Embed(Context& context, const Matrix& matrix, const int32_t* ids, int64_t m, float* x, int64_t stride) {
  const kernels::MatrixOps& ops = context.kernels().matrix[matrix.kind];
  const size_t panel_bytes = ops.panel_bytes(matrix.k, matrix.slices);
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      FT_CHECK(ids[r] >= 0 && ids[r] < matrix.panels * kernels::kPanel);
      const std::byte* panel = matrix.data + static_cast<size_t>(ids[r] / kernels::kPanel) * panel_bytes;
      ops.unpack_row(panel, ids[r] % kernels::kPanel, matrix.k, matrix.slices, x + r * stride);
      std::memset(x + r * stride + matrix.k, 0, static_cast<size_t>(stride - matrix.k) * sizeof(float));
    }
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  std::vector<int32_t> of(ids, ids + m);
  tape->Record(x, [&context, tape, matrix, of = std::move(of), x, stride] {
    EmbedBackward(context, matrix, of.data(), static_cast<int64_t>(of.size()), tape->Gradient(x), stride);
  });
}

}  // namespace fusiontree::ops
