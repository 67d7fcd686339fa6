// The functions of R6 in plain floats, which simd_math.h repeats on lanes: the same operations in the same
// order. Errors are against exact arithmetic over the whole range, in ulp = 2^-23 relative.
//
// Included by the sources of the plain loops alone: internal linkage, compiled with -mfma.
#ifndef FUSIONTREE_KERNELS_REF_MATH_H_
#define FUSIONTREE_KERNELS_REF_MATH_H_

#include <stdint.h>
#include <string.h>

namespace fusiontree::kernels {
namespace {

// Compiled with -mfma: __builtin_fmaf and __builtin_sqrtf are single instructions, never libm.
inline float Fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

inline float FromBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline uint32_t ToBits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}
inline bool Finite(float value) { return (ToBits(value) & 0x7f800000u) != 0x7f800000u; }

// Round to nearest even; a NaN stays a NaN.
inline uint16_t ToBf16(float value) {
  const uint32_t bits = ToBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline float FromBf16(uint16_t value) { return FromBits(static_cast<uint32_t>(value) << 16); }
inline float RoundBf16(float value) { return FromBf16(ToBf16(value)); }

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2High = 0.693359375f;  // 10 bits: n * kLn2High is exact
constexpr float kLn2Low = -2.12194440e-4f;

inline float Exp(float x) {
  if (x < -87.33f) return 0.0f;
  if (x > 88.37f) x = 88.37f;
  const float n = __builtin_rintf(x * kLog2E);
  float r = Fma(-n, kLn2High, x);
  r = Fma(-n, kLn2Low, r);
  float p = 1.9875691500e-4f;
  p = Fma(p, r, 1.3981999507e-3f);
  p = Fma(p, r, 8.3334519073e-3f);
  p = Fma(p, r, 4.1665795894e-2f);
  p = Fma(p, r, 1.6666665459e-1f);
  p = Fma(p, r, 5.0000001201e-1f);
  p = Fma(p, r * r, r);
  p = p + 1.0f;
  return p * FromBits(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

// max and min as the instructions: the second operand where the two are equal or unordered.
inline float Max(float a, float b) { return a > b ? a : b; }
inline float Min(float a, float b) { return a < b ? a : b; }
inline float Abs(float x) { return FromBits(ToBits(x) & 0x7fffffffu); }
inline float WithSign(float magnitude, float sign) {
  return FromBits((ToBits(magnitude) & 0x7fffffffu) | (ToBits(sign) & 0x80000000u));
}

// Errors of the whole functions under R13's mode, over all normal x whose result is normal: sigmoid 1.2 ulp,
// silu 1.3, tanh 1.2, softplus 1.8, gelu 3.6 (from below 0; 9e-8 max(1, |x|) absolute), decay 1.4.
inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }
// Below -92 the result would be subnormal, and x / exp(88.37) grows again with |x|.
inline float Silu(float x) { return x < -92.0f ? -0.0f : x / (1.0f + Exp(-x)); }

// x + x^3 P(x^2) below 0.625 (error of P: 0.04 ulp), else 1 - 2 / (exp(2|x|) + 1).
inline float Tanh(float x) {
  const float a = Abs(x);
  if (a < 0.625f) {
    const float u = x * x;
    float p = -0.0056922962f;
    p = Fma(p, u, 0.0206281673f);
    p = Fma(p, u, -0.0537365153f);
    p = Fma(p, u, 0.133314058f);
    p = Fma(p, u, -0.333332807f);
    return Fma(x * u, p, x);
  }
  return WithSign(1.0f - 2.0f / (Exp(a + a) + 1.0f), x);
}

// max(x, 0) + log(1 + t), t = exp(-|x|): 2 atanh(s) with s = t / (2 + t) <= 1/3, as 2 s + s^3 P(s^2) (0.04
// ulp).
inline float Softplus(float x) {
  const float t = Exp(-Abs(x));
  const float s = t / (t + 2.0f), u = s * s;
  float p = 0.280067801f;
  p = Fma(p, u, 0.280030251f);
  p = Fma(p, u, 0.400214374f);
  p = Fma(p, u, 0.666664183f);
  return Max(0.0f, x) + Fma(s * u, p, s + s);
}

// The normal distribution's tail at a = |x|: density exp(-a^2 / 2) times ratio = erfcx(a / sqrt 2) / 2 = r
// Q(1 - 6 r) with r = 1 / (a + 3) (error of Q on a <= 13.4: 0.4 ulp). The rounding of a^2 is made good by its
// exact remainder, so that the tail is accurate relatively down to where it underflows.
struct Normal {
  float a, density, ratio;
};
inline Normal NormalTail(float x) {
  const float a = Min(20.0f, Abs(x));
  const float r = 1.0f / (a + 3.0f), t = Fma(-6.0f, r, 1.0f);
  float q = -0.000274363672f;
  q = Fma(q, t, -0.000916021585f);
  q = Fma(q, t, 0.0010778592f);
  q = Fma(q, t, 0.00693408819f);
  q = Fma(q, t, -0.0104790339f);
  q = Fma(q, t, -0.0472587608f);
  q = Fma(q, t, 0.230019197f);
  q = Fma(q, t, -0.509332061f);
  q = Fma(q, t, 0.729083657f);
  const float square = a * a, rest = Fma(a, a, -square);
  const float e = Exp(square * -0.5f), density = Fma(e, rest * -0.5f, e);
  return {a, density, r * q};
}
inline float Gelu(float x) {
  const Normal normal = NormalTail(x);
  return Fma(-(normal.a * normal.density), normal.ratio, Max(0.0f, x));
}

// Derivatives. With e = exp(-|x|) neither sigmoid(x) nor 1 - sigmoid(x) loses its last bits.
inline float SigmoidGradient(float x) {
  const float e = Exp(-Abs(x)), q = 1.0f / (1.0f + e);
  return (e * q) * q;
}
inline float TanhGradient(float x) {
  const float a = Abs(x), e = Exp(-(a + a)), q = 1.0f / (1.0f + e);
  return 4.0f * ((e * q) * q);
}
inline float SoftplusGradient(float x) { return Sigmoid(x); }
inline float SiluGradient(float x) {
  x = Min(100.0f, Max(-100.0f, x));
  const float e = Exp(-Abs(x)), q = 1.0f / (1.0f + e), p = e * q;
  return x < 0.0f ? Fma(x * p, q, p) : Fma(x * q, p, q);
}
inline float GeluGradient(float x) {
  const Normal normal = NormalTail(x);
  const float tail = normal.density * normal.ratio, below = x < 0.0f ? tail : 1.0f - tail;
  return Fma(WithSign(normal.a, x) * normal.density, 0.398942280f, below);
}

// 2^(x y) for the scan, the product unrounded: n = round(x y) by adding 1.5 * 2^23, r = x y - n, a polynomial
// that is 1 at 0 (0.8 ulp), n added to its exponent. 0 below 2^-125.5; x y <= 0.
constexpr float kMagic = 12582912.0f;
inline float Decay(float x, float y) {
  const float t = Fma(x, y, kMagic);
  if (t < kMagic - 125.0f) return 0.0f;
  const float n = t - kMagic, r = Fma(x, y, -n);
  float p = 0.00132695376f;
  p = Fma(p, r, 0.00967129227f);
  p = Fma(p, r, 0.0555071086f);
  p = Fma(p, r, 0.240222469f);
  p = Fma(p, r, 0.693147004f);
  p = Fma(p, r, 1.0f);
  return FromBits(ToBits(p) + (ToBits(t) << 23));
}

// Sum of 16 lanes by the fixed tree of the table's header.
inline float LaneTree(float lanes[16]) {
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] = lanes[i] + lanes[i + width];
  return lanes[0];
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_REF_MATH_H_
