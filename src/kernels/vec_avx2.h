// vec.h on AVX2, FMA and F16C: lanes 0-7 in a, 8-15 in b.
#ifndef FUSIONTREE_KERNELS_VEC_AVX2_H_
#define FUSIONTREE_KERNELS_VEC_AVX2_H_

#include <stddef.h>
#include <stdint.h>

#include "kernels/intrinsics.h"

namespace fusiontree::kernels {
namespace {

// Sixteen registers: a tile of 6 rows x 16 outputs has 12 accumulators, 2 weights and 1 activation, and its
// 12 independent chains cover the FMA latency (4 cycles x 2 units) one and a half times.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 1;   // a panel of 32 outputs is walked in halves
constexpr int kWideTileRows = 2;  // up to here both halves fit at once
#ifdef FUSIONTREE_INSTRUMENTED
constexpr int kUnroll = 1;  // compiles sooner
#else
constexpr int kUnroll = 8;  // lines a turn of the loop: its own instructions and the prefetches weigh less
#endif
constexpr bool kWidens = true;    // two instructions of 22 less a line, from a few groups on
constexpr int kStreamPanels = 2;  // panels side by side at M = 1
constexpr int64_t kCut = 256;     // most lines of a cut: 16 KB of bf16, or of half a panel in fp32

// Of a scan: 16 states of 16 channels would be all registers twice over.
constexpr bool kStatesInRegisters = false;

struct V {
  __m256 a, b;
};
struct Mask {
  __m256 a, b;
};

FT_INLINE V Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
FT_INLINE V Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
FT_INLINE V SetFrom(const float* x) {
  const __m256 v = _mm256_broadcast_ss(x);
  return {v, v};
}
FT_INLINE V Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
FT_INLINE void Store(float* p, V v) {
  _mm256_storeu_ps(p, v.a);
  _mm256_storeu_ps(p + 8, v.b);
}
FT_INLINE V Add(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
FT_INLINE V Sub(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
FT_INLINE V Mul(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
FT_INLINE V Div(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
FT_INLINE V Fma(V x, V y, V z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
FT_INLINE V Fnma(V x, V y, V z) { return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)}; }
FT_INLINE V Fms(V x, V y, V z) { return {_mm256_fmsub_ps(x.a, y.a, z.a), _mm256_fmsub_ps(x.b, y.b, z.b)}; }
// Holds an accumulator in its registers where the compiler would move it about.
FT_INLINE void Pin(V& x) { asm("" : "+x"(x.a), "+x"(x.b)); }
FT_INLINE V Min(V x, V y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }  // y where unordered
FT_INLINE V Max(V x, V y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }  // y where unordered
FT_INLINE V Negate(V x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
}
FT_INLINE __m256 Signs8(__m256 x) { return _mm256_and_ps(x, _mm256_set1_ps(-0.0f)); }
FT_INLINE __m256 Abs8(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
FT_INLINE V Abs(V x) { return {Abs8(x.a), Abs8(x.b)}; }
FT_INLINE V WithSign(V x, V sign) {
  return {_mm256_or_ps(Abs8(x.a), Signs8(sign.a)), _mm256_or_ps(Abs8(x.b), Signs8(sign.b))};
}
FT_INLINE V Round(V x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
FT_INLINE __m256 TwoTo8(__m256 n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
FT_INLINE V TwoTo(V n) { return {TwoTo8(n.a), TwoTo8(n.b)}; }  // n integral, -126..127

FT_INLINE __m256 AddExponent8(__m256 p, __m256 t) {
  return _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}
// p * 2^n, n integral (t = 1.5 * 2^23 + n), p and the result normal.
FT_INLINE V AddExponent(V p, V, V t) { return {AddExponent8(p.a, t.a), AddExponent8(p.b, t.b)}; }

FT_INLINE Mask Less(V x, V y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
FT_INLINE Mask Equal(V x, V y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}
FT_INLINE V Select(Mask m, V yes, V no) {
  return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
FT_INLINE uint32_t Bits(Mask m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(m.a)) | static_cast<uint32_t>(_mm256_movemask_ps(m.b)) << 8;
}
// Lanes begin <= i < end; any integers.
FT_INLINE Mask Lanes(int64_t begin, int64_t end) {
  const int lo = static_cast<int>(begin < 0 ? 0 : begin > 16 ? 16 : begin);
  const int hi = static_cast<int>(end < 0 ? 0 : end > 16 ? 16 : end);
  const __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), j = _mm256_add_epi32(i, _mm256_set1_epi32(8));
  const __m256i from = _mm256_set1_epi32(lo), to = _mm256_set1_epi32(hi);
  return {_mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(from, i), _mm256_cmpgt_epi32(to, i))),
          _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(from, j), _mm256_cmpgt_epi32(to, j)))};
}
FT_INLINE V LoadN(const float* p, int64_t n) {  // lanes past n hold zero and are not read
  const Mask m = Lanes(0, n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.a)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.b))};
}
FT_INLINE void StoreN(float* p, int64_t n, V v) {
  const Mask m = Lanes(0, n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.a), v.a);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.b), v.b);
}

// Lanes (i, i+8), then (i, i+4), (i, i+2), (0, 1).
FT_INLINE float SumLanes(V v) {
  const __m256 eight = _mm256_add_ps(v.a, v.b);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
FT_INLINE float MaxLanes(V v) {
  const __m256 eight = _mm256_max_ps(v.a, v.b);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// A line of 32 bf16: u32 j holds output j low and j + 16 high.
FT_INLINE V Bf16Low(const void* line) {
  const __m256i* p = static_cast<const __m256i*>(line);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p + 1), 16))};
}
FT_INLINE V Bf16High(const void* line) {
  const __m256i* p = static_cast<const __m256i*>(line);
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p), high)),
          _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p + 1), high))};
}
FT_INLINE V LoadF16(const void* halves) {
  const __m128i* p = static_cast<const __m128i*>(halves);
  return {_mm256_cvtph_ps(_mm_loadu_si128(p)), _mm256_cvtph_ps(_mm_loadu_si128(p + 1))};
}
// To the nearest bf16, ties to even, kept as fp32; a NaN stays one.
FT_INLINE V RoundBf16(V v) {
  return {_mm256_castsi256_ps(RoundBf16Bits(_mm256_castps_si256(v.a))),
          _mm256_castsi256_ps(RoundBf16Bits(_mm256_castps_si256(v.b)))};
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_VEC_AVX2_H_
