#include "base/math.h"

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "base/check.h"

namespace fusiontree::base {
namespace {

// This file is compiled with -mfma: fma and rint are instructions.
double Fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

// 2^n for n in [-1022, 1023].
double PowerOfTwo(int64_t n) { return std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52); }

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2High = 6.93147180369123816490e-01;  // 33 bits: n * kLn2High is exact for |n| < 2^20
constexpr double kLn2Low = 1.90821492927058770002e-10;

// Taylor series of sin and cos on |r| <= pi/4.
double SinKernel(double r) {
  const double z = r * r;
  double p = -1.0 / 1307674368000.0;  // 15!
  p = Fma(p, z, 1.0 / 6227020800.0);
  p = Fma(p, z, -1.0 / 39916800.0);
  p = Fma(p, z, 1.0 / 362880.0);
  p = Fma(p, z, -1.0 / 5040.0);
  p = Fma(p, z, 1.0 / 120.0);
  p = Fma(p, z, -1.0 / 6.0);
  return Fma(p * z, r, r);
}
double CosKernel(double r) {
  const double z = r * r;
  double p = 1.0 / 20922789888000.0;  // 16!
  p = Fma(p, z, -1.0 / 87178291200.0);
  p = Fma(p, z, 1.0 / 479001600.0);
  p = Fma(p, z, -1.0 / 3628800.0);
  p = Fma(p, z, 1.0 / 40320.0);
  p = Fma(p, z, -1.0 / 720.0);
  p = Fma(p, z, 1.0 / 24.0);
  return Fma(z, Fma(p, z, -0.5), 1.0);
}

// x = quarter * pi/2 + r. pi/2 in three doubles keeps r exact to 2^-53 for |x| <= 2^30.
double ReduceQuarter(double x, int64_t* quarter) {
  FT_CHECK(x >= -0x1p30 && x <= 0x1p30);
  constexpr double kTwoOverPi = 0.63661977236758134308;
  const double n = __builtin_rint(x * kTwoOverPi);
  *quarter = static_cast<int64_t>(n);
  double r = Fma(-n, 1.57079632673412561417e+00, x);  // first 33 bits of pi/2: exact for |n| < 2^20
  r = Fma(-n, 6.07710050630396597660e-11, r);         // next 33 bits
  return Fma(-n, 2.02226624879595063154e-21, r);      // the rest
}

}  // namespace

double Exp(double x) {
  if (x != x) return x;
  if (x > 709.782712893384) return std::numeric_limits<double>::infinity();
  if (x < -708.3964185322641) return 0.0;
  const double n = __builtin_rint(x * kLog2E);
  double r = Fma(-n, kLn2High, x);
  r = Fma(-n, kLn2Low, r);
  double p = 1.0 / 6227020800.0;  // 13!
  for (double c : {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
                   1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5})
    p = Fma(p, r, c);
  p = Fma(p * r, r, r) + 1.0;
  const int64_t exponent = static_cast<int64_t>(n);
  return exponent == 1024 ? p * 2.0 * PowerOfTwo(1023) : p * PowerOfTwo(exponent);
}

double Log(double x) {
  FT_CHECK(x >= std::numeric_limits<double>::min());
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // log(m) = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716.
  const double f = m - 1.0, s = f / (m + 1.0), z = s * s;
  double p = 2.0 / 23.0;
  for (int odd = 21; odd >= 3; odd -= 2) p = Fma(p, z, 2.0 / odd);
  const double e = static_cast<double>(exponent);
  const double half_square = 0.5 * f * f;
  // log(1 + f) = f - f^2/2 + s (f^2/2 + z p): the small terms are summed first.
  return Fma(e, kLn2High, f - (half_square - Fma(s, half_square + z * p, e * kLn2Low)));
}

double Pow(double x, double y) { return Exp(y * Log(x)); }

double Sin(double x) {
  int64_t quarter;
  const double r = ReduceQuarter(x, &quarter);
  const double value = (quarter & 1) ? CosKernel(r) : SinKernel(r);
  return (quarter & 2) ? -value : value;
}

double Cos(double x) {
  int64_t quarter;
  const double r = ReduceQuarter(x, &quarter);
  const double value = (quarter & 1) ? SinKernel(r) : CosKernel(r);
  return ((quarter + 1) & 2) ? -value : value;
}

}  // namespace fusiontree::base
