// avx512bf16's text on emulated intrinsics: EmulatedAvx512Bf16Ops, for the tests that loop over variants. No
// standard header is included, so that nothing inline compiled for AVX2 reaches the other tests.
#define FUSIONTREE_EMULATE_AVX512
#include "kernels/avx512bf16.cc"
