// The backward of functions, norms, convolution and scan, 16 channels at a time.
#ifndef FUSIONTREE_KERNELS_SIMD_BACKWARD_H_
#define FUSIONTREE_KERNELS_SIMD_BACKWARD_H_

#include "kernels/simd_rows.h"

namespace fusiontree::kernels {
namespace {

template <Function kFunction>
void ApplyBackward(const float* x, const float* dy, int64_t n, float* dx) {
  for (int64_t i = 0; i < n; i += 16) {
    StoreUpTo(dx + i, n - i, Mul(LoadUpTo(dy + i, n - i), Gradient<kFunction>(LoadUpTo(x + i, n - i))));
  }
}

// Input k of row t.
FT_INLINE const float* ConvInput(const ConvArgs& f, int64_t t, int64_t k) {
  const int64_t row = t + k - (f.width - 1);
  return row < 0 ? f.history + (t + k) * f.history_stride : f.x + row * f.x_stride;
}
inline void ConvBackwardStrip(const ConvBackwardArgs& g, int64_t c) {
  const ConvArgs& f = g.forward;
  V dbias = g.dbias ? Load(g.dbias + c) : Zero();
  for (int64_t t = 0; t < f.rows; ++t) {
    V dy = Load(g.dout + t * g.dout_stride + c);
    Store(g.dx + t * g.dx_stride + c, f.end == kConvAddInput ? dy : Zero());
    if (f.end == kConvSilu) {
      V y = f.bias ? Load(f.bias + c) : Zero();
      for (int64_t k = 0; k < f.width; ++k)
        y = Fma(Load(f.weight + k * f.weight_stride + c), Load(ConvInput(f, t, k) + c), y);
      dy = Mul(dy, SiluGradient(y));
    }
    dbias = Add(dbias, dy);
    for (int64_t k = 0; k < f.width; ++k) {
      float* dweight = g.dweight + k * g.dweight_stride + c;
      Store(dweight, Fma(dy, Load(ConvInput(f, t, k) + c), Load(dweight)));
      const int64_t row = t + k - (f.width - 1);
      if (row < 0) continue;
      float* dx = g.dx + row * g.dx_stride + c;
      Store(dx, Fma(Load(f.weight + k * f.weight_stride + c), dy, Load(dx)));
    }
  }
  if (g.dbias) Store(g.dbias + c, dbias);
}

// Width 4: inputs, weights and the gradients under way stay in registers.
inline void ConvBackward4(const ConvBackwardArgs& g, int64_t c) {
  const ConvArgs& f = g.forward;
  const float *w = f.weight + c, *h = f.history + c;
  const V bias = f.bias ? Load(f.bias + c) : Zero();
  V dbias = g.dbias ? Load(g.dbias + c) : Zero();
  V weight[4], dweight[4], x[4], dx[4] = {Zero(), Zero(), Zero(), Zero()};
  FT_UNROLL
  for (int k = 0; k < 4; ++k) {
    weight[k] = Load(w + k * f.weight_stride);
    dweight[k] = Load(g.dweight + k * g.dweight_stride + c);
  }
  FT_UNROLL
  for (int k = 0; k < 3; ++k) x[k + 1] = Load(h + k * f.history_stride);
  for (int64_t t = 0; t < f.rows; ++t) {
    FT_UNROLL
    for (int k = 0; k < 3; ++k) {
      x[k] = x[k + 1];
      dx[k] = dx[k + 1];
    }
    x[3] = Load(f.x + t * f.x_stride + c);
    V dy = Load(g.dout + t * g.dout_stride + c);
    dx[3] = f.end == kConvAddInput ? dy : Zero();
    if (f.end == kConvSilu) {
      V y = bias;
      FT_UNROLL
      for (int k = 0; k < 4; ++k) y = Fma(weight[k], x[k], y);
      dy = Mul(dy, SiluGradient(y));
    }
    dbias = Add(dbias, dy);
    FT_UNROLL
    for (int k = 0; k < 4; ++k) {
      dweight[k] = Fma(dy, x[k], dweight[k]);
      dx[k] = Fma(weight[k], dy, dx[k]);
    }
    if (t >= 3) Store(g.dx + (t - 3) * g.dx_stride + c, dx[0]);
  }
  FT_UNROLL
  for (int k = 1; k < 4; ++k) {
    if (f.rows + k >= 4) Store(g.dx + (f.rows + k - 4) * g.dx_stride + c, dx[k]);
  }
  FT_UNROLL
  for (int k = 0; k < 4; ++k) Store(g.dweight + k * g.dweight_stride + c, dweight[k]);
  if (g.dbias) Store(g.dbias + c, dbias);
}
inline void ConvBackward(const ConvBackwardArgs* args) {
  for (int64_t c = args->forward.channel_begin; c < args->forward.channel_end; c += 16) {
    if (args->forward.width == 4) {
      ConvBackward4(*args, c);
    } else {
      ConvBackwardStrip(*args, c);
    }
  }
}

FT_INLINE V RowScale(V squares, int64_t n, float eps) {
  return Set(1.0f / __builtin_sqrtf(SumLanes(squares) / static_cast<float>(n) + eps));
}
// Missing lanes of a tail are zeros of every factor.
inline void RmsNormBackward(const NormBackwardArgs* args) {
  const NormBackwardArgs& g = *args;
  V squares = Zero(), lanes = Zero();
  for (int64_t i = 0; i < g.n; i += 16) {
    const V x = LoadUpTo(g.x + i, g.n - i);
    squares = Fma(x, x, squares);
  }
  const V scale = RowScale(squares, g.n, g.eps);
  for (int64_t i = 0; i < g.n; i += 16) {
    const int64_t n = g.n - i;
    lanes =
        Fma(Mul(LoadUpTo(g.dy + i, n), LoadUpTo(g.weight + i, n)), Mul(LoadUpTo(g.x + i, n), scale), lanes);
  }
  const V m2 = Set(SumLanes(lanes) / static_cast<float>(g.n));
  for (int64_t i = 0; i < g.n; i += 16) {
    const int64_t n = g.n - i;
    const V product = Mul(LoadUpTo(g.dy + i, n), LoadUpTo(g.weight + i, n));
    StoreUpTo(g.dx + i, n, Mul(scale, Fnma(Mul(LoadUpTo(g.x + i, n), scale), m2, product)));
  }
  g.stats[0] = 0.0f;
  StoreN(g.stats + 1, 1, scale);
}

inline void LayerNormBackward(const NormBackwardArgs* args) {
  const NormBackwardArgs& g = *args;
  V sums = Zero(), squares = Zero(), first = Zero(), second = Zero();
  for (int64_t i = 0; i < g.n; i += 16) sums = Add(sums, LoadUpTo(g.x + i, g.n - i));
  const V mean = Set(SumLanes(sums) / static_cast<float>(g.n));
  for (int64_t i = 0; i < g.n; i += 16) {
    const V d = Sub(LoadUpTo(g.x + i, g.n - i), mean);
    squares = Select(Lanes(0, g.n - i), Fma(d, d, squares), squares);
  }
  const V scale = RowScale(squares, g.n, g.eps);
  for (int64_t i = 0; i < g.n; i += 16) {
    const int64_t n = g.n - i;
    const V product = Mul(LoadUpTo(g.dy + i, n), LoadUpTo(g.weight + i, n));
    first = Add(first, product);
    second = Fma(product, Mul(Sub(LoadUpTo(g.x + i, n), mean), scale), second);
  }
  const V m1 = Set(SumLanes(first) / static_cast<float>(g.n)),
          m2 = Set(SumLanes(second) / static_cast<float>(g.n));
  for (int64_t i = 0; i < g.n; i += 16) {
    const int64_t n = g.n - i;
    const V product = Mul(LoadUpTo(g.dy + i, n), LoadUpTo(g.weight + i, n));
    const V hat = Mul(Sub(LoadUpTo(g.x + i, n), mean), scale);
    StoreUpTo(g.dx + i, n, Mul(scale, Fnma(hat, m2, Sub(product, m1))));
  }
  StoreN(g.stats, 1, mean);
  StoreN(g.stats + 1, 1, scale);
}

inline void NormWeight(const float* x, const float* dy, const float* stats, int64_t n, float* dweight,
                       float* dbias) {
  const V mean = SetFrom(stats), scale = SetFrom(stats + 1);
  for (int64_t i = 0; i < n; i += 16) {
    const V d = LoadUpTo(dy + i, n - i), hat = Mul(Sub(LoadUpTo(x + i, n - i), mean), scale);
    StoreUpTo(dweight + i, n - i, Fma(d, hat, LoadUpTo(dweight + i, n - i)));
    if (dbias) StoreUpTo(dbias + i, n - i, Add(LoadUpTo(dbias + i, n - i), d));
  }
}

inline void MixBackward(const MixBackwardArgs* args) {
  const MixBackwardArgs& g = *args;
  V lanes = Zero();
  for (int64_t i = 0; i < g.n; i += 16) {
    const int64_t n = g.n - i;
    const V gate = g.gate_step ? LoadUpTo(g.gate + i, n) : SetFrom(g.gate), dout = LoadUpTo(g.dout + i, n);
    const V apart = Sub(LoadUpTo(g.m + i, n), LoadUpTo(g.a + i, n));
    StoreUpTo(g.dm + i, n, Mul(dout, gate));
    StoreUpTo(g.da + i, n, Mul(dout, Sub(Set(1.0f), gate)));
    if (g.gate_step) {
      StoreUpTo(g.dg + i, n, Mul(dout, apart));
    } else {
      lanes = Fma(dout, apart, lanes);
    }
  }
  if (!g.gate_step) g.dg[0] = SumLanes(lanes);
}

inline void RopeBackward(float* dx, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const int64_t n = half - i;
    const V a = LoadUpTo(dx + i, n), b = LoadUpTo(dx + half + i, n);
    const V c = LoadUpTo(cos + i, n), s = LoadUpTo(sin + i, n);
    StoreUpTo(dx + i, n, Fma(b, s, Mul(a, c)));
    StoreUpTo(dx + half + i, n, Fnma(a, s, Mul(b, c)));
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_BACKWARD_H_
