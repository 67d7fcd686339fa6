// The one door to the intrinsics: the processor's own, or (tests) portable structs under the same names.
#ifndef FUSIONTREE_KERNELS_INTRINSICS_H_
#define FUSIONTREE_KERNELS_INTRINSICS_H_

#ifdef FUSIONTREE_EMULATE_AVX512
#include "kernels/emulate_avx512.h"
#else
#include <immintrin.h>
#endif

#endif  // FUSIONTREE_KERNELS_INTRINSICS_H_
