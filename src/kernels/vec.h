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

#if defined(__AVX512F__) || defined(FUSIONTREE_EMULATE_AVX512)
#include "kernels/vec_avx512.h"
#else
#include "kernels/vec_avx2.h"
#endif

#endif  // FUSIONTREE_KERNELS_VEC_H_
