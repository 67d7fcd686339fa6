#include "ops/norm.h"

#include <algorithm>
#include <cstring>

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;
constexpr int64_t kColumns = 64;  // of the sums over rows, cut over threads in runs of these

bool RunRow(const kernels::Table& table, const Norm& norm, const float* from, float* to) {
  return norm.layer ? table.layer_norm(from, norm.weight, norm.bias, norm.n, norm.eps, to)
                    : table.rms_norm(from, norm.weight, norm.n, norm.eps, to);
}

// Records a norm of `heads` runs of columns of x into `out`, which may be x: what it reads is overwritten.
// Returns where it keeps x.
const float* Record(Context& context, const Norm& norm, const float* x, int64_t stride, int64_t m,
                    int64_t heads, float* out) {
  Tape* tape = context.tape();
  if (tape == nullptr) return nullptr;
  const int64_t width = heads * norm.n;
  float* kept = context.TakeConstant(m * width);
  for (int64_t r = 0; r < m; ++r) std::copy_n(x + r * stride, width, kept + r * width);
  tape->Record(out, [&context, tape, norm, x, stride, m, heads, width, kept, out] {
    bool add = false;
    float* dx = nullptr;
    if (x == out) {
      dx = tape->Gradient(out);
    } else {
      dx = tape->WholeGradient(x, &add);
      if (dx != nullptr && !add && stride > width) {
        for (int64_t r = 0; r < m; ++r) std::fill(dx + r * stride + width, dx + (r + 1) * stride, 0.0f);
      }
    }
    NormBackward(context, norm, kept, width, m, heads, tape->Gradient(out), stride, dx, stride, add);
  });
  return kept;
}

}  // namespace

bool NormRow(Context& context, const Norm& norm, const float* x, int64_t stride, float* out) {
  const bool ok = RunRow(context.kernels(), norm, x, out);
  std::memset(out + norm.n, 0, static_cast<size_t>(stride - norm.n) * sizeof(float));
  return ok;
}

void NormHeads(Context& context, const Norm& norm, float* x, int64_t stride, int64_t m, int64_t heads,
               uint8_t* row_ok) {
  Record(context, norm, x, stride, m, heads, x);
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      for (int64_t h = 0; h < heads; ++h) {
        float* head = x + r * stride + h * norm.n;
        if (!RunRow(context.kernels(), norm, head, head)) row_ok[r] = 0;
      }
  });
}

void NormColumns(Context& context, const Norm& norm, float* x, int64_t stride, int64_t m, uint8_t* row_ok) {
  NormHeads(context, norm, x, stride, m, 1, row_ok);
}

std::function<void()> RunNorm(Context& context, const Norm& norm, const float* x, int64_t stride, int64_t m,
                              float* out, uint8_t* row_ok) {
  const float* kept = Record(context, norm, x, stride, m, 1, out);
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      if (!NormRow(context, norm, x + r * stride, stride, out + r * stride)) row_ok[r] = 0;
  });
  if (kept == nullptr) return {};
  return [&context, norm, kept, stride, m, out] {
    context.For(m, 1, kCheapRows, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r)
        NormRow(context, norm, kept + r * norm.n, stride, out + r * stride);
    });
  };
}

void NormBackward(Context& context, const Norm& norm, const float* x, int64_t x_stride, int64_t m,
                  int64_t heads, const float* dy, int64_t dy_stride, float* dx, int64_t dx_stride, bool add) {
  const Context::Scope scope(context);
  const int64_t n = norm.n, width = heads * n;
  const kernels::BackwardOps& ops = *context.kernels().backward;
  // The weights' sums need dy and what the rows' sums leave; dx may be dy.
  float* stats = context.scratch().TakeArray<float>(m * heads * 2);
  float* made = context.scratch().TakeArray<float>(m * width);
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      for (int64_t h = 0; h < heads; ++h) {
        const kernels::NormBackwardArgs args = {x + r * x_stride + h * n,
                                                norm.weight,
                                                dy + r * dy_stride + h * n,
                                                n,
                                                norm.eps,
                                                made + r * width + h * n,
                                                stats + (r * heads + h) * 2};
        norm.layer ? ops.layer_norm(&args) : ops.rms_norm(&args);
      }
  });
  context.For(n, kColumns, n * m < 4096 ? n + 1 : 0, [&](int, base::Range share) {
    for (int64_t r = 0; r < m; ++r)
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = h * n + share.begin;
        ops.norm_weight(x + r * x_stride + at, dy + r * dy_stride + at, stats + (r * heads + h) * 2,
                        share.end - share.begin, norm.dweight + share.begin,
                        norm.dbias ? norm.dbias + share.begin : nullptr);
      }
  });
  if (dx == nullptr) return;
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      const float* from = made + r * width;
      float* to = dx + r * dx_stride;
      if (add) {
        for (int64_t i = 0; i < width; ++i) to[i] += from[i];
      } else {
        std::copy_n(from, width, to);
      }
    }
  });
}

}  // namespace fusiontree::ops
