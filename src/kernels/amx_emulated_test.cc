// amx's text on emulated intrinsics: EmulatedAmxOps, for the tests that loop over variants.
#define FUSIONTREE_EMULATE_AVX512
#include "kernels/amx.cc"
