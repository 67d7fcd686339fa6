// The AVX-512 intrinsics that the kernels use, as plain loops over arrays, so that the AVX-512 and
// AVX512-BF16 code runs, instruction by instruction, on a processor that has AVX2 only (tests; define
// FUSIONTREE_EMULATE_AVX512, compile with -mavx2 -mfma -mf16c). Each function does what the manual says of
// its instruction; fp32 arithmetic follows the host's MXCSR as AVX-512 does, except VDPBF16PS, which always
// flushes denormals and rounds to nearest. An intrinsic missing here fails to compile; add it with its exact
// meaning.
#ifndef FUSIONTREE_KERNELS_EMULATE_AVX512_H_
#define FUSIONTREE_KERNELS_EMULATE_AVX512_H_

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {
namespace emulated {

struct alignas(64) F512 {
  float f[16];
};
struct alignas(64) D512 {
  double d[8];
};
struct alignas(64) I512 {
  uint32_t u[16];
};

#define EMU static __attribute__((unused, noinline))

template <typename To, typename From>
EMU To Cast(const From& from) {
  static_assert(sizeof(To) <= sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}
EMU uint16_t Word(const I512& a, int i) {
  uint16_t w;
  memcpy(&w, reinterpret_cast<const char*>(&a) + 2 * i, 2);
  return w;
}
EMU void SetWord(I512* a, int i, uint16_t w) { memcpy(reinterpret_cast<char*>(a) + 2 * i, &w, 2); }

#define EMU_LANES(type, field, expression)                \
  type r;                                                 \
  for (int i = 0; i < 16; ++i) r.field[i] = (expression); \
  return r

// Constants, loads, stores. A masked-out lane is neither read nor written.
EMU F512 setzero_ps() { return F512{}; }
EMU F512 set1_ps(float x) { EMU_LANES(F512, f, x); }
EMU F512 setr_ps(float a, float b, float c, float d, float e, float f, float g, float h, float i, float j,
                 float k, float l, float m, float n, float o, float p) {
  return {{a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p}};
}
EMU I512 setzero_si512() { return I512{}; }
EMU I512 set1_epi32(int32_t x) { EMU_LANES(I512, u, static_cast<uint32_t>(x)); }
EMU I512 set1_epi16(int16_t x) { EMU_LANES(I512, u, static_cast<uint16_t>(x) * 0x10001u); }
EMU I512 setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l, int m,
                    int n, int o, int p) {
  const int32_t v[16] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
  return Cast<I512>(v);
}
EMU I512 set_epi32(int p, int o, int n, int m, int l, int k, int j, int i, int h, int g, int f, int e, int d,
                   int c, int b, int a) {
  return setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
}
EMU F512 loadu_ps(const void* p) {
  F512 r;
  memcpy(&r, p, 64);
  return r;
}
EMU void CheckAligned(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 64 != 0) __builtin_trap();
}
EMU F512 load_ps(const void* p) {
  CheckAligned(p);
  return loadu_ps(p);
}
EMU void storeu_ps(void* p, F512 a) { memcpy(p, &a, 64); }
EMU void store_ps(void* p, F512 a) {
  CheckAligned(p);
  memcpy(p, &a, 64);
}
EMU F512 mask_loadu_ps(F512 r, __mmask16 m, const void* p) {
  for (int i = 0; i < 16; ++i)
    if (m >> i & 1) memcpy(&r.f[i], static_cast<const char*>(p) + 4 * i, 4);
  return r;
}
EMU F512 maskz_loadu_ps(__mmask16 m, const void* p) { return mask_loadu_ps(F512{}, m, p); }
EMU void mask_storeu_ps(void* p, __mmask16 m, F512 a) {
  for (int i = 0; i < 16; ++i)
    if (m >> i & 1) memcpy(static_cast<char*>(p) + 4 * i, &a.f[i], 4);
}
EMU I512 loadu_si512(const void* p) {
  I512 r;
  memcpy(&r, p, 64);
  return r;
}
EMU I512 load_si512(const void* p) {
  CheckAligned(p);
  return loadu_si512(p);
}
EMU void storeu_si512(void* p, I512 a) { memcpy(p, &a, 64); }
EMU void store_si512(void* p, I512 a) {
  CheckAligned(p);
  memcpy(p, &a, 64);
}
EMU I512 maskz_loadu_epi32(__mmask16 m, const void* p) { return Cast<I512>(maskz_loadu_ps(m, p)); }
EMU void mask_storeu_epi32(void* p, __mmask16 m, I512 a) { mask_storeu_ps(p, m, Cast<F512>(a)); }
EMU I512 maskz_loadu_epi16(__mmask32 m, const void* p) {
  I512 r = {};
  for (int i = 0; i < 32; ++i) {
    if (m >> i & 1) memcpy(reinterpret_cast<char*>(&r) + 2 * i, static_cast<const char*>(p) + 2 * i, 2);
  }
  return r;
}
EMU void mask_storeu_epi16(void* p, __mmask32 m, I512 a) {
  for (int i = 0; i < 32; ++i)
    if (m >> i & 1) memcpy(static_cast<char*>(p) + 2 * i, reinterpret_cast<const char*>(&a) + 2 * i, 2);
}
// The 256-bit masked moves of AVX512-VL and -BW.
EMU __m256i maskz_loadu_epi16_256(__mmask16 m, const void* p) {
  const I512 r = maskz_loadu_epi16(m, p);
  return Cast<__m256i>(r);
}
EMU void mask_storeu_epi16_256(void* p, __mmask16 m, __m256i a) {
  I512 r = {};
  memcpy(&r, &a, 32);
  mask_storeu_epi16(p, m, r);
}
EMU I512 mask_i32gather_epi32(I512 r, __mmask16 m, I512 index, const void* p, int scale) {
  for (int i = 0; i < 16; ++i) {
    if (m >> i & 1)
      memcpy(&r.u[i],
             static_cast<const char*>(p) + static_cast<int64_t>(static_cast<int32_t>(index.u[i])) * scale, 4);
  }
  return r;
}

// fp32 arithmetic. min and max return the second operand for NaN and for equal zeros, as the instructions do.
EMU F512 add_ps(F512 a, F512 b) { EMU_LANES(F512, f, a.f[i] + b.f[i]); }
EMU F512 sub_ps(F512 a, F512 b) { EMU_LANES(F512, f, a.f[i] - b.f[i]); }
EMU F512 mul_ps(F512 a, F512 b) { EMU_LANES(F512, f, a.f[i] * b.f[i]); }
EMU F512 div_ps(F512 a, F512 b) { EMU_LANES(F512, f, a.f[i] / b.f[i]); }
EMU F512 sqrt_ps(F512 a) { EMU_LANES(F512, f, __builtin_sqrtf(a.f[i])); }
EMU F512 min_ps(F512 a, F512 b) { EMU_LANES(F512, f, a.f[i] < b.f[i] ? a.f[i] : b.f[i]); }
EMU F512 max_ps(F512 a, F512 b) { EMU_LANES(F512, f, a.f[i] > b.f[i] ? a.f[i] : b.f[i]); }
EMU F512 fmadd_ps(F512 a, F512 b, F512 c) { EMU_LANES(F512, f, __builtin_fmaf(a.f[i], b.f[i], c.f[i])); }
EMU F512 fmsub_ps(F512 a, F512 b, F512 c) { EMU_LANES(F512, f, __builtin_fmaf(a.f[i], b.f[i], -c.f[i])); }
EMU F512 fnmadd_ps(F512 a, F512 b, F512 c) { EMU_LANES(F512, f, __builtin_fmaf(-a.f[i], b.f[i], c.f[i])); }
// Rounds to a whole number; of the modes only 0 (nearest even), with or without exceptions suppressed.
EMU F512 roundscale_ps(F512 a, int mode) {
  if ((mode & ~8) != 0) __builtin_trap();
  F512 r;
  for (int i = 0; i < 16; ++i) {
    const __m128 v = _mm_set_ss(a.f[i]);
    r.f[i] = _mm_cvtss_f32(_mm_round_ss(v, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  return r;
}
// a * 2^floor(b), rounded once. A double holds every such product of which a float shows anything.
EMU float Scale(float a, float b) {
  const __m128 v = _mm_set_ss(b);
  const float n = _mm_cvtss_f32(_mm_floor_ss(v, v));
  if (n != n || a != a) return a + b;
  const int exponent = n < -400.0f ? -400 : n > 400.0f ? 400 : static_cast<int>(n);
  const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
  double power;
  memcpy(&power, &bits, 8);
  return static_cast<float>(static_cast<double>(a) * power);
}
EMU F512 scalef_ps(F512 a, F512 b) { EMU_LANES(F512, f, Scale(a.f[i], b.f[i])); }
EMU I512 cvtps_epi32(F512 a) {
  EMU_LANES(I512, u, static_cast<uint32_t>(_mm_cvtss_si32(_mm_set_ss(a.f[i]))));
}
EMU I512 cvttps_epi32(F512 a) {
  EMU_LANES(I512, u, static_cast<uint32_t>(_mm_cvttss_si32(_mm_set_ss(a.f[i]))));
}
EMU F512 cvtepi32_ps(I512 a) { EMU_LANES(F512, f, static_cast<float>(static_cast<int32_t>(a.u[i]))); }
EMU F512 cvtph_ps(__m256i a) {
  const __m256 low = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
  const __m256 high = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
  F512 r;
  memcpy(r.f, &low, 32);
  memcpy(r.f + 8, &high, 32);
  return r;
}

// Integers, 32-bit lanes unless named otherwise. A shift by 32 or more gives zero.
EMU I512 add_epi32(I512 a, I512 b) { EMU_LANES(I512, u, a.u[i] + b.u[i]); }
EMU I512 sub_epi32(I512 a, I512 b) { EMU_LANES(I512, u, a.u[i] - b.u[i]); }
EMU I512 and_si512(I512 a, I512 b) { EMU_LANES(I512, u, a.u[i] & b.u[i]); }
EMU I512 or_si512(I512 a, I512 b) { EMU_LANES(I512, u, a.u[i] | b.u[i]); }
EMU I512 xor_si512(I512 a, I512 b) { EMU_LANES(I512, u, a.u[i] ^ b.u[i]); }
EMU I512 andnot_si512(I512 a, I512 b) { EMU_LANES(I512, u, ~a.u[i] & b.u[i]); }
EMU I512 slli_epi32(I512 a, unsigned n) { EMU_LANES(I512, u, n > 31 ? 0u : a.u[i] << n); }
EMU I512 srli_epi32(I512 a, unsigned n) { EMU_LANES(I512, u, n > 31 ? 0u : a.u[i] >> n); }
EMU I512 srai_epi32(I512 a, unsigned n) {
  EMU_LANES(I512, u, static_cast<uint32_t>(static_cast<int32_t>(a.u[i]) >> (n > 31 ? 31 : n)));
}
EMU I512 min_epi32(I512 a, I512 b) {
  EMU_LANES(I512, u, static_cast<int32_t>(a.u[i]) < static_cast<int32_t>(b.u[i]) ? a.u[i] : b.u[i]);
}
EMU I512 cvtepu16_epi32(__m256i a) {
  uint16_t w[16];
  memcpy(w, &a, 32);
  EMU_LANES(I512, u, w[i]);
}
EMU __m256i cvtepi32_epi16(I512 a) {
  uint16_t w[16];
  for (int i = 0; i < 16; ++i) w[i] = static_cast<uint16_t>(a.u[i]);
  __m256i r;
  memcpy(&r, w, 32);
  return r;
}
EMU F512 and_ps(F512 a, F512 b) { return Cast<F512>(and_si512(Cast<I512>(a), Cast<I512>(b))); }
EMU F512 or_ps(F512 a, F512 b) { return Cast<F512>(or_si512(Cast<I512>(a), Cast<I512>(b))); }
EMU F512 xor_ps(F512 a, F512 b) { return Cast<F512>(xor_si512(Cast<I512>(a), Cast<I512>(b))); }

// Comparisons into masks; blends take b where the mask is set.
EMU bool Compare(float a, float b, int predicate) {
  const bool unordered = a != a || b != b;
  switch (predicate & 15) {
    case _CMP_EQ_OQ:
      return a == b;
    case _CMP_LT_OS:
      return a < b;
    case _CMP_LE_OS:
      return a <= b;
    case _CMP_UNORD_Q:
      return unordered;
    case _CMP_NEQ_UQ:
      return !(a == b);
    case _CMP_NLT_US:
      return !(a < b);
    case _CMP_NLE_US:
      return !(a <= b);
    case _CMP_ORD_Q:
      return !unordered;
    case _CMP_EQ_UQ:
      return unordered || a == b;
    case _CMP_NGE_US:
      return !(a >= b);
    case _CMP_NGT_US:
      return !(a > b);
    case _CMP_FALSE_OQ:
      return false;
    case _CMP_NEQ_OQ:
      return !unordered && a != b;
    case _CMP_GE_OS:
      return a >= b;
    case _CMP_GT_OS:
      return a > b;
    default:
      return true;
  }
}
#define EMU_MASK(type, lanes, condition)                                        \
  type m = 0;                                                                   \
  for (int i = 0; i < (lanes); ++i)                                             \
    m = static_cast<type>(m | (static_cast<type>((condition) ? 1u : 0u) << i)); \
  return m
EMU __mmask16 cmp_ps_mask(F512 a, F512 b, int predicate) {
  EMU_MASK(__mmask16, 16, Compare(a.f[i], b.f[i], predicate));
}
EMU __mmask16 mask_cmp_ps_mask(__mmask16 k, F512 a, F512 b, int predicate) {
  return static_cast<__mmask16>(k & cmp_ps_mask(a, b, predicate));
}
EMU __mmask16 cmpeq_epi32_mask(I512 a, I512 b) { EMU_MASK(__mmask16, 16, a.u[i] == b.u[i]); }
EMU __mmask16 cmpneq_epi32_mask(I512 a, I512 b) { EMU_MASK(__mmask16, 16, a.u[i] != b.u[i]); }
EMU __mmask16 cmpgt_epi32_mask(I512 a, I512 b) {
  EMU_MASK(__mmask16, 16, static_cast<int32_t>(a.u[i]) > static_cast<int32_t>(b.u[i]));
}
EMU __mmask16 cmplt_epi32_mask(I512 a, I512 b) { return cmpgt_epi32_mask(b, a); }
EMU __mmask16 cmpgt_epu32_mask(I512 a, I512 b) { EMU_MASK(__mmask16, 16, a.u[i] > b.u[i]); }
EMU __mmask16 cmpge_epu32_mask(I512 a, I512 b) { EMU_MASK(__mmask16, 16, a.u[i] >= b.u[i]); }
EMU __mmask32 cmpeq_epi16_mask(I512 a, I512 b) { EMU_MASK(__mmask32, 32, Word(a, i) == Word(b, i)); }
EMU F512 mask_blend_ps(__mmask16 m, F512 a, F512 b) { EMU_LANES(F512, f, (m >> i & 1) ? b.f[i] : a.f[i]); }
EMU F512 mask_mov_ps(F512 a, __mmask16 m, F512 b) { return mask_blend_ps(m, a, b); }
EMU F512 maskz_mov_ps(__mmask16 m, F512 b) { return mask_blend_ps(m, F512{}, b); }
EMU I512 mask_blend_epi32(__mmask16 m, I512 a, I512 b) { EMU_LANES(I512, u, (m >> i & 1) ? b.u[i] : a.u[i]); }
EMU I512 mask_mov_epi32(I512 a, __mmask16 m, I512 b) { return mask_blend_epi32(m, a, b); }
EMU I512 maskz_mov_epi32(__mmask16 m, I512 b) { return mask_blend_epi32(m, I512{}, b); }

// Moves between lanes. Unpacks work within 128-bit quarters; shuffles of quarters take an index of 2 bits
// each.
EMU I512 unpacklo_epi32(I512 a, I512 b) { EMU_LANES(I512, u, (i & 1 ? b : a).u[(i & ~3) + (i & 3) / 2]); }
EMU I512 unpackhi_epi32(I512 a, I512 b) { EMU_LANES(I512, u, (i & 1 ? b : a).u[(i & ~3) + 2 + (i & 3) / 2]); }
EMU I512 unpacklo_epi64(I512 a, I512 b) { EMU_LANES(I512, u, (i & 2 ? b : a).u[(i & ~3) + (i & 1)]); }
EMU I512 unpackhi_epi64(I512 a, I512 b) { EMU_LANES(I512, u, (i & 2 ? b : a).u[(i & ~3) + 2 + (i & 1)]); }
EMU I512 shuffle_i32x4(I512 a, I512 b, int imm) {
  EMU_LANES(I512, u, (i < 8 ? a : b).u[4 * (imm >> (2 * (i / 4)) & 3) + i % 4]);
}
EMU F512 unpacklo_ps(F512 a, F512 b) { return Cast<F512>(unpacklo_epi32(Cast<I512>(a), Cast<I512>(b))); }
EMU F512 unpackhi_ps(F512 a, F512 b) { return Cast<F512>(unpackhi_epi32(Cast<I512>(a), Cast<I512>(b))); }
EMU D512 unpacklo_pd(D512 a, D512 b) { return Cast<D512>(unpacklo_epi64(Cast<I512>(a), Cast<I512>(b))); }
EMU D512 unpackhi_pd(D512 a, D512 b) { return Cast<D512>(unpackhi_epi64(Cast<I512>(a), Cast<I512>(b))); }
EMU F512 shuffle_f32x4(F512 a, F512 b, int imm) {
  return Cast<F512>(shuffle_i32x4(Cast<I512>(a), Cast<I512>(b), imm));
}
EMU F512 permutexvar_ps(I512 index, F512 a) { EMU_LANES(F512, f, a.f[index.u[i] & 15]); }
EMU I512 permutexvar_epi32(I512 index, I512 a) { EMU_LANES(I512, u, a.u[index.u[i] & 15]); }
EMU F512 permutex2var_ps(F512 a, I512 index, F512 b) {
  EMU_LANES(F512, f, (index.u[i] & 16 ? b : a).f[index.u[i] & 15]);
}
EMU I512 permutex2var_epi32(I512 a, I512 index, I512 b) {
  EMU_LANES(I512, u, (index.u[i] & 16 ? b : a).u[index.u[i] & 15]);
}
EMU I512 permutexvar_epi16(I512 index, I512 a) {
  I512 r;
  for (int i = 0; i < 32; ++i) SetWord(&r, i, Word(a, Word(index, i) & 31));
  return r;
}
EMU I512 inserti64x4(I512 a, __m256i b, int imm) {
  memcpy(a.u + 8 * (imm & 1), &b, 32);
  return a;
}
EMU __m256i extracti64x4_epi64(I512 a, int imm) {
  __m256i r;
  memcpy(&r, a.u + 8 * (imm & 1), 32);
  return r;
}
EMU __m256 extractf32x8_ps(F512 a, int imm) {
  __m256 r;
  memcpy(&r, a.f + 8 * (imm & 1), 32);
  return r;
}
EMU __m256d extractf64x4_pd(D512 a, int imm) {
  __m256d r;
  memcpy(&r, a.d + 4 * (imm & 1), 32);
  return r;
}
EMU F512 insertf32x8(F512 a, __m256 b, int imm) {
  memcpy(a.f + 8 * (imm & 1), &b, 32);
  return a;
}
EMU I512 castsi256_si512(__m256i a) { return inserti64x4(I512{}, a, 0); }
EMU F512 castps256_ps512(__m256 a) { return insertf32x8(F512{}, a, 0); }
EMU F512 broadcast_f32x4(__m128 a) {
  float x[4];
  memcpy(x, &a, 16);
  EMU_LANES(F512, f, x[i % 4]);
}

// VDPBF16PS: per lane the odd product is added first, each addition one rounding. Its denormals are always
// flushed: the host's MXCSR is set for the loop, whose operands lie in memory on both sides of the change.
__attribute__((noinline, unused)) static void Dpbf16(const F512* acc, const I512* a, const I512* b,
                                                     F512* out) {
  const unsigned saved = _mm_getcsr(), flushing = 0x9fc0;
  __asm__ volatile("ldmxcsr %0" : : "m"(flushing) : "memory");
  for (int i = 0; i < 16; ++i) {
    const float a0 = Cast<float>(a->u[i] << 16), a1 = Cast<float>(a->u[i] & 0xffff0000u);
    const float b0 = Cast<float>(b->u[i] << 16), b1 = Cast<float>(b->u[i] & 0xffff0000u);
    out->f[i] = __builtin_fmaf(a0, b0, __builtin_fmaf(a1, b1, acc->f[i]));
  }
  __asm__ volatile("ldmxcsr %0" : : "m"(saved) : "memory");
}
EMU F512 dpbf16_ps(F512 acc, I512 a, I512 b) {
  F512 r;
  Dpbf16(&acc, &a, &b, &r);
  return r;
}

#undef EMU_LANES
#undef EMU_MASK

}  // namespace emulated
}  // namespace

#include "kernels/emulate_names.h"

#endif  // FUSIONTREE_KERNELS_EMULATE_AVX512_H_
