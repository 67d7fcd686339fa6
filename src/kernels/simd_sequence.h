// Channel-wise operations on sequences: causal convolution and selective scan, 16 channels at a time, each
// strip of channels through all rows of the call, so that weights and states stay in registers or in L1.
#ifndef FUSIONTREE_KERNELS_SIMD_SEQUENCE_H_
#define FUSIONTREE_KERNELS_SIMD_SEQUENCE_H_

#include "kernels/simd_math.h"
#include "kernels/table.h"

namespace fusiontree::kernels {
namespace {

FT_INLINE void ConvStore(const ConvArgs& g, int64_t t, int64_t c, V x, V y) {
  Store(g.out + t * g.out_stride + c, g.end == kConvSilu ? Silu(y) : Add(x, y));
}
FT_INLINE V ConvBias(const ConvArgs& g, int64_t c) { return g.bias ? Load(g.bias + c) : Zero(); }

// Rows below width - 1 reach into the history.
inline void ConvAny(const ConvArgs& g, int64_t c, int64_t row_begin, int64_t row_end) {
  for (int64_t t = row_begin; t < row_end; ++t) {
    V y = ConvBias(g, c);
    for (int64_t k = 0; k < g.width; ++k) {
      const int64_t row = t + k - (g.width - 1);
      const float* x = row < 0 ? g.history + (t + k) * g.history_stride : g.x + row * g.x_stride;
      y = Fma(Load(g.weight + k * g.weight_stride + c), Load(x + c), y);
    }
    ConvStore(g, t, c, Load(g.x + t * g.x_stride + c), y);
  }
}

// Width 4: each input is read once and handed on.
inline void Conv4(const ConvArgs& g, int64_t c) {
  const float *w = g.weight + c, *h = g.history + c;
  const V w0 = Load(w), w1 = Load(w + g.weight_stride), w2 = Load(w + 2 * g.weight_stride),
          w3 = Load(w + 3 * g.weight_stride), bias = ConvBias(g, c);
  V x0 = Load(h), x1 = Load(h + g.history_stride), x2 = Load(h + 2 * g.history_stride);
  for (int64_t t = 0; t < g.rows; ++t) {
    const V x3 = Load(g.x + t * g.x_stride + c);
    ConvStore(g, t, c, x3, Fma(w3, x3, Fma(w2, x2, Fma(w1, x1, Fma(w0, x0, bias)))));
    x0 = x1;
    x1 = x2;
    x2 = x3;
  }
}

inline void Conv(const ConvArgs* args) {
  const ConvArgs& g = *args;
  for (int64_t c = g.channel_begin; c < g.channel_end; c += 16) {
    if (g.width == 4) {
      Conv4(g, c);
    } else {
      ConvAny(g, c, 0, g.rows);
    }
  }
}

// Some lane forgets at once: its quickest rate, `most`, decays by less than 2^-125.5.
FT_INLINE bool NeedsGuard(V delta, V most) {
  return Bits(Less(Fma(delta, most, Set(kMagic)), Set(kDecayEnd))) != 0;
}
// One state of 16 channels, one row.
template <bool kGuarded>
FT_INLINE void ScanState(V delta, V dx, const float* a, const float* b, const float* c, V& s, V& y) {
  s = Fma(Decay<kGuarded>(delta, Load(a)), s, Mul(dx, SetFrom(b)));
  y = Fma(s, SetFrom(c), y);
}

// The states of a strip, in registers (kN of them) or in memory.
template <int kN>
struct States {
  V s[kN];
  FT_INLINE void Open(float* state, int64_t stride, int64_t) {
    FT_UNROLL
    for (int i = 0; i < kN; ++i) s[i] = Load(state + i * stride);
  }
  FT_INLINE void Close(float* state, int64_t stride, int64_t) {
    FT_UNROLL
    for (int i = 0; i < kN; ++i) Store(state + i * stride, s[i]);
  }
  template <bool kGuarded>
  FT_INLINE V Row(V delta, V dx, const float* a, int64_t, const float* b, const float* c, int64_t) {
    V y = Zero();
    FT_UNROLL
    for (int i = 0; i < kN; ++i) ScanState<kGuarded>(delta, dx, a + 16 * i, b + i, c + i, s[i], y);
    return y;
  }
};

// Rows of an array that lie a multiple of 4 KB apart fall into one set of L1: a strip of up to kLocalStates
// states and their rates is copied side by side.
constexpr int64_t kLocalStates = 64;
template <>
struct States<0> {
  alignas(64) float local[kLocalStates * 16];
  float* s;
  int64_t step;
  FT_INLINE void Open(float* state, int64_t stride, int64_t n) {
    s = state;
    step = stride;
    if (n > kLocalStates) return;
    s = local;
    step = 16;
    for (int64_t i = 0; i < n; ++i) Store(s + 16 * i, Load(state + i * stride));
  }
  FT_INLINE void Close(float* state, int64_t stride, int64_t n) {
    if (n > kLocalStates) return;
    for (int64_t i = 0; i < n; ++i) Store(state + i * stride, Load(s + 16 * i));
  }
  template <bool kGuarded>
  FT_INLINE V Row(V delta, V dx, const float* a, int64_t a_step, const float* b, const float* c, int64_t n) {
    V y = Zero();
    for (int64_t i = 0; i < n; ++i) {
      V state = Load(s + i * step);
      ScanState<kGuarded>(delta, dx, a + i * a_step, b + i, c + i, state, y);
      Store(s + i * step, state);
    }
    return y;
  }
};

template <int kN>
void ScanStrip(const ScanArgs& g, int64_t channel) {
  alignas(64) float local[kLocalStates * 16];
  const float* a = g.a + channel;
  int64_t a_step = g.a_stride;
  V most = Zero();  // the quickest decay: the guard is needed where this one needs it
  for (int64_t i = 0; i < g.n; ++i) {
    const V rate = Load(a + i * a_step);
    most = Min(most, rate);
    if (g.n <= kLocalStates) Store(local + 16 * i, rate);
  }
  if (g.n <= kLocalStates) {
    a = local;
    a_step = 16;
  }
  States<kN> states;
  states.Open(g.state + channel, g.state_stride, g.n);
  const V skip = Load(g.skip + channel);
  for (int64_t t = 0; t < g.rows; ++t) {
    const float *b = g.b + t * g.bc_stride, *c = g.c + t * g.bc_stride;
    const V x = Load(g.x + t * g.x_stride + channel), delta = Load(g.delta + t * g.delta_stride + channel);
    const V dx = Mul(delta, x);
    V y = NeedsGuard(delta, most) ? states.template Row<true>(delta, dx, a, a_step, b, c, g.n)
                                  : states.template Row<false>(delta, dx, a, a_step, b, c, g.n);
    y = Fma(skip, x, y);
    if (g.z) y = Mul(y, Silu(Load(g.z + t * g.z_stride + channel)));
    Store(g.out + t * g.out_stride + channel, y);
  }
  states.Close(g.state + channel, g.state_stride, g.n);
}

// One row (decode) is bound by the state's bytes: they are walked along their rows, kScanRun channels at a
// time, the sums y waiting in L1.
constexpr int64_t kScanRun = 1024;
inline void ScanRow(const ScanArgs& g, int64_t begin, int64_t end) {
  alignas(64) float dx[kScanRun], y[kScanRun];
  for (int64_t c = begin; c < end; c += 16) {
    Store(dx + (c - begin), Mul(Load(g.delta + c), Load(g.x + c)));
    Store(y + (c - begin), Zero());
  }
  for (int64_t i = 0; i < g.n; ++i) {
    float* state = g.state + i * g.state_stride;
    const float* a = g.a + i * g.a_stride;
    const V b = SetFrom(g.b + i), c_i = SetFrom(g.c + i);
    for (int64_t c = begin; c < end; c += 16) {
      const V e = Decay<true>(Load(g.delta + c), Load(a + c));
      const V s = Fma(e, Load(state + c), Mul(Load(dx + (c - begin)), b));
      Store(state + c, s);
      Store(y + (c - begin), Fma(s, c_i, Load(y + (c - begin))));
    }
  }
  for (int64_t c = begin; c < end; c += 16) {
    V sum = Fma(Load(g.skip + c), Load(g.x + c), Load(y + (c - begin)));
    if (g.z) sum = Mul(sum, Silu(Load(g.z + c)));
    Store(g.out + c, sum);
  }
}

inline void Scan(const ScanArgs* args) {
  const ScanArgs& g = *args;
  if (g.rows == 1) {
    for (int64_t c = g.channel_begin; c < g.channel_end; c += kScanRun) {
      ScanRow(g, c, c + kScanRun < g.channel_end ? c + kScanRun : g.channel_end);
    }
    return;
  }
  for (int64_t channel = g.channel_begin; channel < g.channel_end; channel += 16) {
    if (kStatesInRegisters && g.n == 16) {
      ScanStrip<kStatesInRegisters ? 16 : 0>(g, channel);
    } else if (kStatesInRegisters && g.n == 8) {
      ScanStrip<kStatesInRegisters ? 8 : 0>(g, channel);
    } else {
      ScanStrip<0>(g, channel);
    }
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_SEQUENCE_H_
