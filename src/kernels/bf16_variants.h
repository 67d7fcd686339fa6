// What an instruction set's object gives: the entries a table overrides, everything else being avx512's.
// Constant data behind one function, so that asking for a variant the processor lacks executes none of its
// instructions.
#ifndef FUSIONTREE_KERNELS_BF16_VARIANTS_H_
#define FUSIONTREE_KERNELS_BF16_VARIANTS_H_

#include "kernels/table.h"

namespace fusiontree::kernels {

struct Bf16Ops {
  MatrixOps matrix;        // kBf16Bf16
  AttentionOps attention;  // kAttentionBf16
};

const Bf16Ops* Avx512Bf16Ops();  // VDPBF16PS
const Bf16Ops* AmxOps();         // TDPBF16PS; the process must have been granted AMX (arch_prctl)
// The same sources with every AVX-512 and AMX intrinsic emulated (tests).
const Bf16Ops* EmulatedAvx512Bf16Ops();
const Bf16Ops* EmulatedAmxOps();

#ifdef FUSIONTREE_EMULATE_AVX512
#define FUSIONTREE_BF16_OPS(name) Emulated##name
#else
#define FUSIONTREE_BF16_OPS(name) name
#endif

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_BF16_VARIANTS_H_
