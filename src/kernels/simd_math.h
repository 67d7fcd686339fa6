// The functions of R6, the same operations in the same order as ref_math.h, which gives the reasons.
#ifndef FUSIONTREE_KERNELS_SIMD_MATH_H_
#define FUSIONTREE_KERNELS_SIMD_MATH_H_

#include "kernels/table.h"
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
FT_INLINE V Sigmoid(V x) { return Div(Set(1.0f), Add(Set(1.0f), Exp(Negate(x)))); }
FT_INLINE V Silu(V x) {
  return Select(Less(x, Set(-92.0f)), Set(-0.0f), Div(x, Add(Set(1.0f), Exp(Negate(x)))));
}

FT_INLINE V Tanh(V x) {
  const V a = Abs(x), u = Mul(x, x);
  V p = Set(-0.0056922962f);
  p = Fma(p, u, Set(0.0206281673f));
  p = Fma(p, u, Set(-0.0537365153f));
  p = Fma(p, u, Set(0.133314058f));
  p = Fma(p, u, Set(-0.333332807f));
  const V near = Fma(Mul(x, u), p, x);
  const V far = WithSign(Sub(Set(1.0f), Div(Set(2.0f), Add(Exp(Add(a, a)), Set(1.0f)))), x);
  return Select(Less(a, Set(0.625f)), near, far);
}

FT_INLINE V Softplus(V x) {
  const V t = Exp(Negate(Abs(x)));
  const V s = Div(t, Add(t, Set(2.0f))), u = Mul(s, s);
  V p = Set(0.280067801f);
  p = Fma(p, u, Set(0.280030251f));
  p = Fma(p, u, Set(0.400214374f));
  p = Fma(p, u, Set(0.666664183f));
  return Add(Max(Zero(), x), Fma(Mul(s, u), p, Add(s, s)));
}

struct Normal {
  V a, density, ratio;
};
FT_INLINE Normal NormalTail(V x) {
  const V a = Min(Set(20.0f), Abs(x));
  const V r = Div(Set(1.0f), Add(a, Set(3.0f))), t = Fnma(Set(6.0f), r, Set(1.0f));
  V q = Set(-0.000274363672f);
  q = Fma(q, t, Set(-0.000916021585f));
  q = Fma(q, t, Set(0.0010778592f));
  q = Fma(q, t, Set(0.00693408819f));
  q = Fma(q, t, Set(-0.0104790339f));
  q = Fma(q, t, Set(-0.0472587608f));
  q = Fma(q, t, Set(0.230019197f));
  q = Fma(q, t, Set(-0.509332061f));
  q = Fma(q, t, Set(0.729083657f));
  const V half = Set(-0.5f), square = Mul(a, a), rest = Fms(a, a, square);
  const V e = Exp(Mul(square, half)), density = Fma(e, Mul(rest, half), e);
  return {a, density, Mul(r, q)};
}
FT_INLINE V Gelu(V x) {
  const Normal normal = NormalTail(x);
  return Fnma(Mul(normal.a, normal.density), normal.ratio, Max(Zero(), x));
}

FT_INLINE V SigmoidGradient(V x) {
  const V e = Exp(Negate(Abs(x))), q = Div(Set(1.0f), Add(Set(1.0f), e));
  return Mul(Mul(e, q), q);
}
FT_INLINE V TanhGradient(V x) {
  const V a = Abs(x), e = Exp(Negate(Add(a, a))), q = Div(Set(1.0f), Add(Set(1.0f), e));
  return Mul(Set(4.0f), Mul(Mul(e, q), q));
}
FT_INLINE V SiluGradient(V x) {
  x = Min(Set(100.0f), Max(Set(-100.0f), x));
  const V e = Exp(Negate(Abs(x))), q = Div(Set(1.0f), Add(Set(1.0f), e)), p = Mul(e, q);
  const Mask negative = Less(x, Zero());
  const V s = Select(negative, p, q), rest = Select(negative, q, p);
  return Fma(Mul(x, s), rest, s);
}
FT_INLINE V GeluGradient(V x) {
  const Normal normal = NormalTail(x);
  const V tail = Mul(normal.density, normal.ratio);
  const V below = Select(Less(x, Zero()), tail, Sub(Set(1.0f), tail));
  return Fma(Mul(WithSign(normal.a, x), normal.density), Set(0.398942280f), below);
}

template <Function kFunction>
FT_INLINE V Gradient(V x) {
  if constexpr (kFunction == kSilu) return SiluGradient(x);
  if constexpr (kFunction == kGelu) return GeluGradient(x);
  if constexpr (kFunction == kTanh) return TanhGradient(x);
  if constexpr (kFunction == kSigmoid) return SigmoidGradient(x);
  if constexpr (kFunction == kSoftplus) return Sigmoid(x);
}
template <Function kFunction>
FT_INLINE V Evaluate(V x) {
  if constexpr (kFunction == kSilu) return Silu(x);
  if constexpr (kFunction == kGelu) return Gelu(x);
  if constexpr (kFunction == kTanh) return Tanh(x);
  if constexpr (kFunction == kSigmoid) return Sigmoid(x);
  if constexpr (kFunction == kSoftplus) return Softplus(x);
}

// 2^(x y), the product unrounded. kGuarded: 0 where it is below 2^-125.5; without, no lane may be.
constexpr float kMagic = 12582912.0f;
constexpr float kDecayEnd = kMagic - 125.0f;
template <bool kGuarded>
FT_INLINE V Decay(V x, V y) {
  const V t = Fma(x, y, Set(kMagic)), n = Sub(t, Set(kMagic)), r = Fms(x, y, n);
  V p = Set(0.00132695376f);
  p = Fma(p, r, Set(0.00967129227f));
  p = Fma(p, r, Set(0.0555071086f));
  p = Fma(p, r, Set(0.240222469f));
  p = Fma(p, r, Set(0.693147004f));
  p = Fma(p, r, Set(1.0f));
  const V e = AddExponent(p, n, t);
  return kGuarded ? Select(Less(t, Set(kDecayEnd)), Zero(), e) : e;
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_MATH_H_
