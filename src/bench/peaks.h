// Loops that do nothing but one kind of instruction, one object file an instruction set. Called only where
// the processor has it (kernels/cpu.h). This header is included by objects compiled for different instruction
// sets: it holds no function bodies.
#ifndef FUSIONTREE_BENCH_PEAKS_H_
#define FUSIONTREE_BENCH_PEAKS_H_

#include <stddef.h>
#include <stdint.h>

namespace fusiontree::bench {

// Each does `rounds` rounds on registers alone, returns the floating-point operations done, and writes a
// number to *sink so that nothing is optimised away.
double PeakFmaAvx2(int64_t rounds, float* sink);
double PeakFmaAvx512(int64_t rounds, float* sink);
double PeakBf16Avx512(int64_t rounds, float* sink);  // VDPBF16PS
double PeakBf16Amx(int64_t rounds, float* sink);     // TDPBF16PS; configures and releases the thread's tiles

// Reads `bytes` (a multiple of 64 * streams) from `data` in `streams` (1, 2, 4 or 8) places at once.
uint64_t ReadStreams(const void* data, size_t bytes, int streams);

}  // namespace fusiontree::bench

#endif  // FUSIONTREE_BENCH_PEAKS_H_
