// exp and SiLU of R6, the same operations in the same order as ref.cc.
#ifndef FUSIONTREE_KERNELS_SIMD_MATH_H_
#define FUSIONTREE_KERNELS_SIMD_MATH_H_

#include "kernels/vec.h"

namespace fusiontree::kernels {
namespace {

FT_INLINE V Exp(V x) {
  const Mask zero = Less(x, Set(-87.33f));
  x = Min(Set(88.37f), x);
  const V n = Round(Mul(x, Set(1.44269504f)));
  V r = Fnma(n, Set(0.693359375f), x);
  r = Fnma(n, Set(-2.12194440e-4f), r);
  V p = Set(1.9875691500e-4f);
  p = Fma(p, r, Set(1.3981999507e-3f));
  p = Fma(p, r, Set(8.3334519073e-3f));
  p = Fma(p, r, Set(4.1665795894e-2f));
  p = Fma(p, r, Set(1.6666665459e-1f));
  p = Fma(p, r, Set(5.0000001201e-1f));
  p = Fma(p, Mul(r, r), r);
  p = Add(p, Set(1.0f));
  return Select(zero, Zero(), Mul(p, TwoTo(n)));
}
FT_INLINE float Exp(float x) {
  float lanes[16];
  Store(lanes, Exp(Set(x)));
  return lanes[0];
}
FT_INLINE V Silu(V x) { return Div(x, Add(Set(1.0f), Exp(Negate(x)))); }

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_MATH_H_
