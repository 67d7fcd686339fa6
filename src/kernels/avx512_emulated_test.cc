// avx512's text on emulated intrinsics, for the tests that loop over variants. No standard header is
// included, so that nothing inline compiled for AVX2 reaches the other tests.
#define FUSIONTREE_EMULATE_AVX512
#define FUSIONTREE_AVX512_TABLE Avx512EmulatedTable
#include "kernels/avx512.cc"
