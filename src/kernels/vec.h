// Sixteen fp32 lanes, the unit in which simd_*.h are written: one zmm, or two ymm. Everything here and in
// simd_*.h lives in an anonymous namespace and is inlined, so that an object compiled for an instruction set
// exports its table function and nothing else.
#ifndef FUSIONTREE_KERNELS_VEC_H_
#define FUSIONTREE_KERNELS_VEC_H_

#define FT_INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define FT_UNROLL _Pragma("unroll")
#else
#define FT_UNROLL _Pragma("GCC unroll 16")
#endif

#include "kernels/intrinsics.h"

namespace fusiontree::kernels {
namespace {

// The bits of fp32 lanes to the nearest bf16, ties to even, lower half zero; a NaN stays one.
FT_INLINE __m256i RoundBf16Bits(__m256i bits) {
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  const __m256i nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f800000));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
  return _mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, nan),
                          _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
}

}  // namespace
}  // namespace fusiontree::kernels

#if defined(__AVX512F__) || defined(FUSIONTREE_EMULATE_AVX512)
#include "kernels/vec_avx512.h"
#else
#include "kernels/vec_avx2.h"
#endif

#endif  // FUSIONTREE_KERNELS_VEC_H_
