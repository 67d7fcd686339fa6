#include "ops/elementwise.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fusiontree::ops {
namespace {

constexpr int64_t kCheapRows = 8;

// to[i] += factor * from[i] of columns [0, n) of m rows.
void Accumulate(Context& context, const float* from, int64_t from_stride, int64_t m, int64_t n, float factor,
                float* to, int64_t to_stride) {
  if (to == nullptr) return;
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      const float* x = from + r * from_stride;
      float* y = to + r * to_stride;
      for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
    }
  });
}

void SiluMulBackward(Context& context, const float* both, int64_t both_stride, int64_t m, int64_t panels,
                     const float* dout, int64_t stride, float* dboth) {
  constexpr int64_t kP = kernels::kPanel;
  const kernels::Table& table = context.kernels();
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    float silu[kP], dsilu[kP];
    for (int64_t r = share.begin; r < share.end; ++r) {
      for (int64_t p = 0; p < panels; ++p) {
        const float *gate = both + r * both_stride + 2 * p * kP, *up = gate + kP;
        const float* dy = dout + r * stride + p * kP;
        float* dgate = dboth + r * both_stride + 2 * p * kP;
        table.apply[kernels::kSilu](gate, kP, silu);
        for (int64_t i = 0; i < kP; ++i) {
          dgate[kP + i] = dy[i] * silu[i];
          dsilu[i] = dy[i] * up[i];
        }
        table.backward->apply[kernels::kSilu](gate, dsilu, kP, dgate);
      }
    }
  });
}

}  // namespace

void Apply(Context& context, kernels::Function function, const float* x, int64_t x_stride, int64_t m,
           int64_t n, float* out, int64_t out_stride) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      context.kernels().apply[function](x + r * x_stride, n, out + r * out_stride);
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  FT_CHECK(x != out);
  tape->Record(out, [&context, tape, function, x, x_stride, m, n, out, out_stride] {
    bool add = false;
    float* dx = n == x_stride ? tape->WholeGradient(x, &add) : tape->Gradient(x);
    FT_CHECK(!add);
    const float* dout = tape->Gradient(out);
    context.For(m, 1, kCheapRows, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r)
        context.kernels().backward->apply[function](x + r * x_stride, dout + r * out_stride, n,
                                                    dx + r * x_stride);
    });
  });
}

void Copy(Context& context, const float* x, int64_t x_stride, int64_t m, int64_t n, float* out,
          int64_t out_stride) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r)
      std::fill(std::copy_n(x + r * x_stride, n, out + r * out_stride), out + (r + 1) * out_stride, 0.0f);
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(out, [&context, tape, x, x_stride, m, n, out, out_stride] {
    Accumulate(context, tape->Gradient(out), out_stride, m, n, 1.0f, tape->Gradient(x), x_stride);
  });
}

void Add(Context& context, const float* x, const float* y, int64_t stride, int64_t m, float* out) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t i = share.begin * stride; i < share.end * stride; ++i) out[i] = x[i] + y[i];
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(out, [&context, tape, x, y, stride, m, out] {
    const float* dout = tape->Gradient(out);
    for (const float* term : {y, x})
      Accumulate(context, dout, stride, m, stride, 1.0f, tape->Gradient(term), stride);
  });
}

void AddTo(Context& context, const float* y, int64_t stride, int64_t m, float* x) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t i = share.begin * stride; i < share.end * stride; ++i) x[i] += y[i];
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(x, [&context, tape, y, stride, m, x] {
    Accumulate(context, tape->Gradient(x), stride, m, stride, 1.0f, tape->Gradient(y), stride);
  });
}

void Gather(Context& context, const RowTable& table, const std::vector<int64_t>& which, float* out,
            int64_t out_stride) {
  const int64_t m = static_cast<int64_t>(which.size()), n = table.columns;
  for (int64_t r = 0; r < m; ++r)
    std::fill(std::copy_n(table.rows + which[static_cast<size_t>(r)] * n, n, out + r * out_stride),
              out + (r + 1) * out_stride, 0.0f);
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  FT_CHECK(table.drows != nullptr);
  tape->Record(out, [tape, table, which, m, n, out, out_stride] {
    const float* dout = tape->Gradient(out);
    for (int64_t r = 0; r < m; ++r)
      for (int64_t i = 0; i < n; ++i)
        table.drows[which[static_cast<size_t>(r)] * n + i] += dout[r * out_stride + i];
  });
}

std::function<void()> GatedMatmul(Context& context, const Rows& rows, const Matrix& matrix, float* out,
                                  int64_t out_stride) {
  Tape* tape = context.tape();
  if (tape == nullptr) {
    Matmul(context, rows, matrix, kernels::kSiluMul, out, out_stride);
    return {};
  }
  constexpr int64_t kP = kernels::kPanel;
  const int64_t panels = matrix.panels / 2, width = matrix.panels * kP, m = rows.m;
  FT_CHECK(matrix.panels % 2 == 0 && out_stride == panels * kP);
  float* both = context.Take(m * width);
  Matmul(context, rows, matrix, kernels::kStore, both, width);
  const auto multiply = [&context, both, width, m, panels, out, out_stride] {
    context.For(m, 1, kCheapRows, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r) {
        for (int64_t p = 0; p < panels; ++p) {
          const float *gate = both + r * width + 2 * p * kP, *up = gate + kP;
          float* to = out + r * out_stride + p * kP;
          context.kernels().apply[kernels::kSilu](gate, kP, to);
          for (int64_t i = 0; i < kP; ++i) to[i] *= up[i];
        }
      }
    });
  };
  multiply();
  tape->Record(out, [&context, tape, both, width, m, panels, out, out_stride] {
    bool add = false;
    float* dboth = tape->WholeGradient(both, &add);
    FT_CHECK(!add);
    SiluMulBackward(context, both, width, m, panels, tape->Gradient(out), out_stride, dboth);
  });
  return multiply;
}

void Mix(Context& context, const float* gate, int64_t gate_stride, bool one_gate, const Branches& b,
         int64_t m, int64_t n, float* out, int64_t out_stride) {
  static constexpr float kHalf = 0.5f;
  const int64_t step = gate && !one_gate ? 1 : 0;
  const auto gate_of = [gate, gate_stride](int64_t r) { return gate ? gate + r * gate_stride : &kHalf; };
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      float* to = out + r * out_stride;
      context.kernels().mix(gate_of(r), step, b.mamba + r * b.stride, b.attention + r * b.stride, n, to);
      std::fill(to + n, to + out_stride, 0.0f);
    }
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(out, [&context, tape, gate, gate_of, gate_stride, step, b, m, n, out, out_stride] {
    const Context::Scope scope(context);
    const float* dout = tape->Gradient(out);
    float* dgate = gate ? tape->Gradient(gate) : nullptr;
    float *dmamba = tape->Gradient(b.mamba), *dattention = tape->Gradient(b.attention);
    float* spaces = context.scratch().TakeArray<float>(context.pool().size() * 3 * out_stride);
    context.For(m, 1, kCheapRows, [&](int thread, base::Range share) {
      float *dg = spaces + thread * 3 * out_stride, *dm = dg + out_stride, *da = dm + out_stride;
      for (int64_t r = share.begin; r < share.end; ++r) {
        const kernels::MixBackwardArgs args = {gate_of(r),
                                               step,
                                               b.mamba + r * b.stride,
                                               b.attention + r * b.stride,
                                               dout + r * out_stride,
                                               n,
                                               dg,
                                               dm,
                                               da};
        context.kernels().backward->mix(&args);
        for (int64_t i = 0; i < n; ++i) {
          dmamba[r * b.stride + i] += dm[i];
          dattention[r * b.stride + i] += da[i];
        }
        if (dgate == nullptr) continue;
        for (int64_t i = 0; i < (step ? n : 1); ++i) dgate[r * gate_stride + i] += dg[i];
      }
    });
  });
}

void Join(Context& context, const Branches& b, bool two, int64_t m, int64_t n, float* out,
          int64_t out_stride) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t r = share.begin; r < share.end; ++r) {
      float* to = out + r * out_stride;
      for (const float* branch : {b.mamba, b.attention}) {
        if (branch) {
          to = std::copy_n(branch + r * b.stride, n, to);
        } else if (two) {
          to = std::fill_n(to, n, 0.0f);
        }
      }
      std::fill(to, out + (r + 1) * out_stride, 0.0f);
    }
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(out, [&context, tape, b, two, m, n, out, out_stride] {
    const float* dout = tape->Gradient(out);
    if (b.mamba) Accumulate(context, dout, out_stride, m, n, 1.0f, tape->Gradient(b.mamba), b.stride);
    const int64_t column = two || b.mamba ? n : 0;
    if (b.attention)
      Accumulate(context, dout + column, out_stride, m, n, 1.0f, tape->Gradient(b.attention), b.stride);
  });
}

void Average(Context& context, const Branches& b, int64_t m, float* out) {
  context.For(m, 1, kCheapRows, [&](int, base::Range share) {
    for (int64_t i = share.begin * b.stride; i < share.end * b.stride; ++i)
      out[i] = ((b.mamba ? b.mamba[i] : 0.0f) + (b.attention ? b.attention[i] : 0.0f)) * 0.5f;
  });
  Tape* tape = context.tape();
  if (tape == nullptr) return;
  tape->Record(out, [&context, tape, b, m, out] {
    const float* dout = tape->Gradient(out);
    for (const float* branch : {b.mamba, b.attention})
      if (branch) Accumulate(context, dout, b.stride, m, b.stride, 0.5f, tape->Gradient(branch), b.stride);
  });
}

}  // namespace fusiontree::ops
