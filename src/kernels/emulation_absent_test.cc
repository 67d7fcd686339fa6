// In place of the emulated variants in instrumented builds: they would take minutes to compile,
// uninstrumented.
#include "kernels/bf16_variants.h"
#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {

const Table* Avx512EmulatedTable() { return nullptr; }
const Bf16Ops* EmulatedAvx512Bf16Ops() { return nullptr; }
const Bf16Ops* EmulatedAmxOps() { return nullptr; }

}  // namespace fusiontree::kernels
