// The variant avx2: AVX2, FMA, F16C. Bits equal to ref.
#include "kernels/simd_table.h"

namespace fusiontree::kernels {
namespace {
constinit const Table kTable = MakeTable("avx2");
}

const Table* Avx2Table() { return &kTable; }

}  // namespace fusiontree::kernels
