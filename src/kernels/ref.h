// The arithmetic in plain loops: what each table entry computes, element by element. Three accumulation rules
// (the K-blocks of R1) make three tables out of one text:
//   Fma        acc = fma(a[k], b[k], acc), k ascending                       (ref = avx2 = avx512)
//   Dpbf16     per pair: acc = fma(a[1], b[1], acc), then fma(a[0], b[0], acc)   (VDPBF16PS)
//   Amx        per 32: even and odd products summed from zero, acc = acc + (even + odd)   (TDPBF16PS)
#ifndef FUSIONTREE_KERNELS_REF_H_
#define FUSIONTREE_KERNELS_REF_H_

#include "kernels/table.h"

namespace fusiontree::kernels {

// exp and silu of every variant (R6): one polynomial. exp: x below -87.33 gives 0, x above 88.37 is taken as
// 88.37; n = round(x log2 e), r = x - n ln 2 in two parts, degree-6 polynomial, exponent added. Error < 2
// ulp.
float RefExp(float x);
float RefSilu(float x);  // x / (1 + exp(-x))

// Entries of the three tables that have no contraction (ref_sequence.cc).
namespace ref {
void ApplySilu(const float* x, int64_t n, float* out);
void ApplyGelu(const float* x, int64_t n, float* out);
void ApplyTanh(const float* x, int64_t n, float* out);
void ApplySigmoid(const float* x, int64_t n, float* out);
void ApplySoftplus(const float* x, int64_t n, float* out);
void Conv(const ConvArgs* args);
void Scan(const ScanArgs* args);
bool LayerNorm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* out);
void Mix(const float* gate, int64_t gate_step, const float* m, const float* a, int64_t n, float* out);
extern const BackwardOps kBackward;  // ref_backward.cc
}  // namespace ref

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_REF_H_
