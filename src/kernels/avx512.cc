// The variant avx512: AVX-512 F, BW, DQ, VL. Bits equal to ref, as avx2's.
#include "kernels/simd_table.h"

#ifndef FUSIONTREE_AVX512_TABLE
#define FUSIONTREE_AVX512_TABLE Avx512Table
#endif

namespace fusiontree::kernels {
namespace {
constinit const Table kTable = MakeTable("avx512");
}

const Table* FUSIONTREE_AVX512_TABLE() { return &kTable; }

}  // namespace fusiontree::kernels
