// What this processor has and the system lets us use. x86-64 only; elsewhere everything is false.
#ifndef FUSIONTREE_KERNELS_CPU_H_
#define FUSIONTREE_KERNELS_CPU_H_

namespace fusiontree::kernels {

struct Cpu {
  bool fma = false;          // AVX and FMA, and the system saves ymm: what every variant needs, ref too
  bool avx2 = false;         // and AVX2, F16C
  bool avx512 = false;       // AVX-512 F, BW, DQ, VL, and the system saves zmm
  bool avx512bf16 = false;   // and AVX512-BF16
  bool amx = false;          // and AMX-TILE, AMX-BF16, and the system granted tiles to this process
  bool amx_refused = false;  // the processor has AMX, the system did not grant it
};

// Detected once; asks the system for tile state where the processor has it (per process, kept for its life).
const Cpu& ThisCpu();

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_CPU_H_
