// Row operations: norm, rotary embedding, reductions over a vector, and the ends of attention. Memory-bound.
#ifndef FUSIONTREE_KERNELS_SIMD_ROWS_H_
#define FUSIONTREE_KERNELS_SIMD_ROWS_H_

#include "kernels/simd_math.h"
#include "kernels/table.h"

namespace fusiontree::kernels {
namespace {

FT_INLINE bool IsFinite(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return (bits & 0x7f800000u) != 0x7f800000u;
}
FT_INLINE V LoadUpTo(const float* p, int64_t n) { return n >= 16 ? Load(p) : LoadN(p, n); }
FT_INLINE void StoreUpTo(float* p, int64_t n, V v) {
  if (n >= 16) {
    Store(p, v);
  } else {
    StoreN(p, n, v);
  }
}

// A tail's missing lanes are zeros, which add +0 to sums of squares: no lane's bits change.
inline bool RmsNorm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  V squares = Zero();
  for (int64_t i = 0; i < n; i += 16) {
    const V v = LoadUpTo(x + i, n - i);
    squares = Fma(v, v, squares);
  }
  const float sum = SumLanes(squares);
  const V scale = Set(1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += 16) {
    StoreUpTo(out + i, n - i, Mul(Mul(LoadUpTo(x + i, n - i), scale), LoadUpTo(weight + i, n - i)));
  }
  return IsFinite(sum);
}

// As RmsNorm; a tail's missing lanes are kept out of the second sum.
inline bool LayerNorm(const float* x, const float* weight, const float* bias, int64_t n, float eps,
                      float* out) {
  V lanes = Zero(), squares = Zero();
  for (int64_t i = 0; i < n; i += 16) lanes = Add(lanes, LoadUpTo(x + i, n - i));
  const V mean = Set(SumLanes(lanes) / static_cast<float>(n));
  for (int64_t i = 0; i < n; i += 16) {
    const V d = Sub(LoadUpTo(x + i, n - i), mean);
    squares = Select(Lanes(0, n - i), Fma(d, d, squares), squares);
  }
  const float sum = SumLanes(squares);
  const V scale = Set(1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += 16) {
    const V y = Mul(Sub(LoadUpTo(x + i, n - i), mean), scale), w = LoadUpTo(weight + i, n - i);
    StoreUpTo(out + i, n - i, bias ? Fma(y, w, LoadUpTo(bias + i, n - i)) : Mul(y, w));
  }
  return IsFinite(sum);
}

template <Function kFunction>
void Apply(const float* x, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(out + i, Evaluate<kFunction>(Load(x + i)));
  if (i < n) StoreN(out + i, n - i, Evaluate<kFunction>(LoadN(x + i, n - i)));
}

inline void Mix(const float* gate, int64_t gate_step, const float* m, const float* a, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 16) {
    const V g = gate_step ? LoadUpTo(gate + i, n - i) : SetFrom(gate);
    StoreUpTo(out + i, n - i, Fma(g, LoadUpTo(m + i, n - i), Mul(Sub(Set(1.0f), g), LoadUpTo(a + i, n - i))));
  }
}

inline void Rope(float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const int64_t n = half - i;
    const V a = LoadUpTo(x + i, n), b = LoadUpTo(x + half + i, n);
    const V c = LoadUpTo(cos + i, n), s = LoadUpTo(sin + i, n);
    StoreUpTo(x + i, n, Fnma(b, s, Mul(a, c)));
    StoreUpTo(x + half + i, n, Fma(a, s, Mul(b, c)));
  }
}

// x * 0 is a zero exactly when x is finite; NaN survives every sum.
inline bool AllFinite(const float* x, int64_t n) {
  V sum[4] = {Zero(), Zero(), Zero(), Zero()};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    FT_UNROLL
    for (int j = 0; j < 4; ++j) sum[j] = Fma(Load(x + i + 16 * j), Zero(), sum[j]);
  }
  for (; i < n; i += 16) sum[0] = Fma(LoadUpTo(x + i, n - i), Zero(), sum[0]);
  return IsFinite(SumLanes(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3]))));
}

// The greatest value, then the first place that holds it.
inline int64_t Argmax(const float* x, int64_t n) {
  const V first = Set(x[0]);
  V best[4] = {first, first, first, first};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    FT_UNROLL
    for (int j = 0; j < 4; ++j) best[j] = Max(Load(x + i + 16 * j), best[j]);
  }
  for (; i < n; i += 16) {
    const V v = Select(Lanes(0, n - i), LoadUpTo(x + i, n - i), first);
    best[0] = Max(v, best[0]);
  }
  const V top = Set(MaxLanes(Max(Max(best[0], best[1]), Max(best[2], best[3]))));
  for (i = 0; i < n; i += 16) {
    const V v = Select(Lanes(0, n - i), LoadUpTo(x + i, n - i), first);
    const uint32_t equal = Bits(Equal(v, top));
    if (equal) {
      const int64_t at = i + __builtin_ctz(equal);
      return at < n ? at : 0;
    }
  }
  return 0;
}

inline float ExpSum(const float* x, int64_t n, float shift, float* p) {
  const V by = Set(shift);
  float sum = 0.0f;
  for (int64_t begin = 0; begin < n; begin += kVocabBlock) {
    const int64_t end = begin + kVocabBlock < n ? begin + kVocabBlock : n;
    V lanes = Zero();
    int64_t i = begin;
    for (; i + 16 <= end; i += 16) {
      const V e = Exp(Sub(Load(x + i), by));
      Store(p + i, e);
      lanes = Add(lanes, e);
    }
    if (i < end) {
      const V e = Exp(Sub(LoadN(x + i, end - i), by));
      StoreN(p + i, end - i, e);
      lanes = Add(lanes, Select(Lanes(0, end - i), e, Zero()));
    }
    sum = sum + SumLanes(lanes);
  }
  return sum;
}

inline void AttentionMerge(int64_t rows, int64_t d, int64_t acc_stride, float* max, float* sum, float* acc,
                           const float* max2, const float* sum2, const float* acc2) {
  for (int64_t r = 0; r < rows; ++r) {
    if (sum2[r] == 0.0f) continue;
    float* to = acc + r * acc_stride;
    const float* from = acc2 + r * acc_stride;
    if (sum[r] == 0.0f) {
      max[r] = max2[r];
      sum[r] = sum2[r];
      for (int64_t i = 0; i < d; i += 16) StoreUpTo(to + i, d - i, LoadUpTo(from + i, d - i));
      continue;
    }
    const float top = max2[r] > max[r] ? max2[r] : max[r];
    const float f1 = Exp(max[r] - top), f2 = Exp(max2[r] - top);
    max[r] = top;
    sum[r] = __builtin_fmaf(sum2[r], f2, sum[r] * f1);
    for (int64_t i = 0; i < d; i += 16) {
      StoreUpTo(to + i, d - i,
                Fma(LoadUpTo(from + i, d - i), Set(f2), Mul(LoadUpTo(to + i, d - i), Set(f1))));
    }
  }
}

inline void AttentionFinish(int64_t queries, int64_t heads, int64_t d, int64_t acc_stride, const float* sum,
                            const float* acc, float* out, int64_t out_stride) {
  for (int64_t r = 0; r < queries * heads; ++r) {
    float* to = out + r / heads * out_stride + r % heads * d;
    for (int64_t i = 0; i < d; i += 16) {
      StoreUpTo(to + i, d - i, Add(Div(LoadUpTo(acc + r * acc_stride + i, d - i), Set(sum[r])), Zero()));
    }
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_ROWS_H_
