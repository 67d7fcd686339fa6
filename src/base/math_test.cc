#include "base/math.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/philox.h"

namespace fusiontree::base {
namespace {

// The long double functions of libm are the outside truth here, and only here.
TEST(Math, AgreesWithLongDouble) {
  double worst_exp = 0, worst_log = 0, worst_sin = 0, worst_pow = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    const auto bits = Philox(7, i, 0);
    const double u = UnitDouble(bits[0], bits[1]), v = UnitDouble(bits[2], bits[3]);
    const double x = (u - 0.5) * 1400.0;
    worst_exp = std::max(
        worst_exp, static_cast<double>(std::fabs(Exp(x) / std::exp(static_cast<long double>(x)) - 1.0L)));
    const double y = std::exp((v - 0.5) * 60.0);
    worst_log = std::max(
        worst_log, static_cast<double>(std::fabs(Log(y) - std::log(static_cast<long double>(y))) /
                                       std::max(1e-3L, std::fabs(std::log(static_cast<long double>(y))))));
    const double angle = u < 0.3 ? v * 10 : v * 1048576.0;
    worst_sin = std::max(
        worst_sin, static_cast<double>(std::fabs(Sin(angle) - std::sin(static_cast<long double>(angle)))));
    worst_sin = std::max(
        worst_sin, static_cast<double>(std::fabs(Cos(-angle) - std::cos(static_cast<long double>(angle)))));
    const double base = 1e4 + u * 1e6;
    worst_pow = std::max(
        worst_pow,
        static_cast<double>(std::fabs(
            Pow(base, -v) / std::pow(static_cast<long double>(base), static_cast<long double>(-v)) - 1.0L)));
  }
  EXPECT_LT(worst_exp, 4e-16);
  EXPECT_LT(worst_log, 4e-16);
  EXPECT_LT(worst_sin, 2.5e-16);
  EXPECT_LT(worst_pow, 1e-14);
}

TEST(Math, EdgesOfRange) {
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(800.0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(Exp(-800.0), 0.0);
  EXPECT_EQ(Log(1.0), 0.0);
  EXPECT_EQ(Sin(0.0), 0.0);
  EXPECT_EQ(Cos(0.0), 1.0);
}

}  // namespace
}  // namespace fusiontree::base
