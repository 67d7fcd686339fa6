// vec.h on AVX-512 F, BW, DQ, VL. Every AVX-512 intrinsic of avx512 is in this file; simd_pack.h uses AVX2.
#ifndef FUSIONTREE_KERNELS_VEC_AVX512_H_
#define FUSIONTREE_KERNELS_VEC_AVX512_H_

#include <stddef.h>
#include <stdint.h>

#include "kernels/intrinsics.h"

namespace fusiontree::kernels {
namespace {

// Thirty-two registers: a tile of 12 rows x 32 outputs has 24 accumulators, 2 weights and 1 activation. Per k
// it issues 24 FMAs (12 cycles on two units) and 14 loads (7 cycles).
constexpr int kTileRows = 12;
constexpr int kTileVectors = 2;    // a panel of 32 outputs in one pass
constexpr int kWideTileRows = 12;  // always
#if defined(FUSIONTREE_INSTRUMENTED)
constexpr int kUnroll = 1;  // compiles sooner
#elif defined(FUSIONTREE_EMULATE_AVX512)
constexpr int kUnroll = 2;                       // compiles sooner
#else
constexpr int kUnroll = 4;  // lines a turn of the loop
#endif
constexpr bool kWidens = true;  // where FMA and integer operations share two ports, widen once for many rows
constexpr int kStreamPanels = 2;  // panels side by side at M = 1
constexpr int64_t kCut = 192;     // most lines of a cut: 24 KB in fp32, beside 9 KB of activations

constexpr bool kStatesInRegisters = true;  // of a scan: 16 states, 7 constants, a row's values

using V = __m512;
using Mask = __mmask16;

FT_INLINE V Zero() { return _mm512_setzero_ps(); }
FT_INLINE V Set(float x) { return _mm512_set1_ps(x); }
FT_INLINE V SetFrom(const float* x) { return _mm512_set1_ps(*x); }
FT_INLINE V Load(const float* p) { return _mm512_loadu_ps(p); }
FT_INLINE void Store(float* p, V v) { _mm512_storeu_ps(p, v); }
FT_INLINE V Add(V x, V y) { return _mm512_add_ps(x, y); }
FT_INLINE V Sub(V x, V y) { return _mm512_sub_ps(x, y); }
FT_INLINE V Mul(V x, V y) { return _mm512_mul_ps(x, y); }
FT_INLINE V Div(V x, V y) { return _mm512_div_ps(x, y); }
FT_INLINE V Fma(V x, V y, V z) { return _mm512_fmadd_ps(x, y, z); }
FT_INLINE V Fnma(V x, V y, V z) { return _mm512_fnmadd_ps(x, y, z); }
FT_INLINE V Fms(V x, V y, V z) { return _mm512_fmsub_ps(x, y, z); }
#ifdef FUSIONTREE_EMULATE_AVX512
FT_INLINE void Pin(V&) {}
#else
FT_INLINE void Pin(V& x) { asm("" : "+v"(x)); }  // see vec_avx2.h
#endif
FT_INLINE V Min(V x, V y) { return _mm512_min_ps(x, y); }  // y where unordered
FT_INLINE V Max(V x, V y) { return _mm512_max_ps(x, y); }  // y where unordered
FT_INLINE V Negate(V x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
FT_INLINE V Abs(V x) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}
FT_INLINE V WithSign(V x, V sign) {
  return _mm512_castsi512_ps(
      _mm512_or_si512(_mm512_castps_si512(Abs(x)),
                      _mm512_and_si512(_mm512_castps_si512(sign), _mm512_set1_epi32(INT32_MIN))));
}
FT_INLINE V Round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FT_INLINE V TwoTo(V n) {  // n integral, -126..127
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}

// p * 2^n, n integral (t = 1.5 * 2^23 + n), p and the result normal.
FT_INLINE V AddExponent(V p, V n, V) { return _mm512_scalef_ps(p, n); }

FT_INLINE Mask Less(V x, V y) { return _mm512_cmp_ps_mask(x, y, _CMP_LT_OQ); }
FT_INLINE Mask Equal(V x, V y) { return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ); }
FT_INLINE V Select(Mask m, V yes, V no) { return _mm512_mask_blend_ps(m, no, yes); }
FT_INLINE uint32_t Bits(Mask m) { return m; }
// Lanes begin <= i < end; any integers.
FT_INLINE Mask Lanes(int64_t begin, int64_t end) {
  const int64_t lo = begin < 0 ? 0 : begin > 16 ? 16 : begin, hi = end < 0 ? 0 : end > 16 ? 16 : end;
  return static_cast<Mask>(((1u << hi) - 1u) & ~((1u << lo) - 1u));
}
FT_INLINE V LoadN(const float* p, int64_t n) {  // lanes past n hold zero and are not read
  return _mm512_maskz_loadu_ps(Lanes(0, n), p);
}
FT_INLINE void StoreN(float* p, int64_t n, V v) { _mm512_mask_storeu_ps(p, Lanes(0, n), v); }

// Lanes (i, i+8), then (i, i+4), (i, i+2), (0, 1).
FT_INLINE float SumLanes(V v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
FT_INLINE float MaxLanes(V v) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// A line of 32 bf16: u32 j holds output j low and j + 16 high.
FT_INLINE V Bf16Low(const void* line) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(line), 16));
}
FT_INLINE V Bf16High(const void* line) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_loadu_si512(line), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
FT_INLINE V LoadF16(const void* halves) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(halves)));
}
// To the nearest bf16, ties to even, kept as fp32; a NaN stays one.
FT_INLINE V RoundBf16(V v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  const Mask nan = _mm512_cmpgt_epi32_mask(magnitude, _mm512_set1_epi32(0x7f800000));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_blend_epi32(nan, rounded, quiet),
                                              _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_VEC_AVX512_H_
