// The functions of R6: every variant against its twin by memcmp, and the plain ones against double precision
// over the whole range of fp32.
#include <functional>
#include <limits>

#include "kernels/kernels_testing.h"
#include "kernels/ref.h"

namespace fusiontree::kernels {
namespace {

using FunctionsTest = VariantTest;

struct Stated {
  const char* name;
  std::function<double(double)> exact;
  double ulps;         // most error, in 2^-23 of the result
  double at_infinity;  // limits
  double at_minus_infinity;
};
const double kInfinity = std::numeric_limits<double>::infinity();
const std::vector<Stated>& All() {
  static const std::vector<Stated> all = {
      {"silu", [](double x) { return x / (1 + std::exp(-x)); }, 1.6, kInfinity, 0},
      {"gelu", [](double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }, 3.8, kInfinity, 0},
      {"tanh", [](double x) { return std::tanh(x); }, 1.3, 1, -1},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, 1.5, 1, 0},
      {"softplus", [](double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }, 2.0,
       kInfinity, 0},
  };
  return all;
}

// Every 20,011th pattern of bits, every sign and exponent among them, and a fine grid where the functions
// bend.
const std::vector<float>& Inputs() {
  static const std::vector<float> inputs = [] {
    std::vector<float> x;
    for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 20011) {
      const float v = OfBits(static_cast<uint32_t>(bits));
      if (std::isfinite(v)) x.push_back(v);
    }
    for (double v = -20; v < 20; v += 0.000917) x.push_back(static_cast<float>(v));
    for (const float edge : {0.625f, 0.62499994f, 92.0f, 92.00001f, 87.33f, 88.37f, 20.0f, 13.2f}) {
      x.push_back(edge);
      x.push_back(-edge);
    }
    return x;
  }();
  return inputs;
}

TEST_P(FunctionsTest, EqualTheirTwins) {
  const std::vector<float>& x = Inputs();
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<float> got(x.size()), expected(x.size());
  for (int f = 0; f < kFunctions; ++f) {
    table().apply[f](x.data(), n, got.data());
    twin().apply[f](x.data(), n, expected.data());
    ASSERT_TRUE(SameBits(got.data(), expected.data(), n)) << All()[static_cast<size_t>(f)].name;
  }
}

TEST_P(FunctionsTest, TailsAndPlaceInMemoryChangeNothing) {
  for (int f = 0; f < kFunctions; ++f) {
    for (int64_t n = 1; n <= 70; ++n) {
      const std::vector<float> x = Draw(static_cast<uint64_t>(n)).Normals(n + 1, 4.0f);
      std::vector<float> got(x.size() + 16, 7.0f), expected = got;
      table().apply[f](x.data() + 1, n, got.data() + 1);
      twin().apply[f](x.data() + 1, n, expected.data() + 1);
      ASSERT_TRUE(SameBits(got.data(), expected.data(), n + 17)) << "function " << f << ", n " << n;
      std::vector<float> same = x;
      table().apply[f](same.data() + 1, n, same.data() + 1);
      ASSERT_TRUE(SameBits(same.data() + 1, expected.data() + 1, n)) << "in place, " << f << ", n " << n;
    }
  }
}

TEST_P(FunctionsTest, InfinitiesGiveLimitsAndNanStays) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (int f = 0; f < kFunctions; ++f) {
    const Stated& stated = All()[static_cast<size_t>(f)];
    const float x[4] = {infinity, -infinity, OfBits(0x7fc00000), OfBits(0xffc12345)};
    float y[4];
    table().apply[f](x, 4, y);
    EXPECT_EQ(static_cast<double>(y[0]), stated.at_infinity) << stated.name;
    EXPECT_EQ(static_cast<double>(y[1]), stated.at_minus_infinity) << stated.name;
    EXPECT_TRUE(std::isnan(y[2])) << stated.name;
    EXPECT_TRUE(std::isnan(y[3])) << stated.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, FunctionsTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

// Variants equal ref, so ref alone is held against double precision. Near underflow (a result or exp(x) below
// 1e-36) the error is less than that.
TEST(Functions, AreAccurateEverywhere) {
  const unsigned csr = _mm_getcsr();
  _mm_setcsr(0x9fc0);
  std::vector<float> y(Inputs().size());
  for (int f = 0; f < kFunctions; ++f) {
    const Stated& stated = All()[static_cast<size_t>(f)];
    RefTable()->apply[f](Inputs().data(), static_cast<int64_t>(y.size()), y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      const double x = static_cast<double>(Inputs()[i]), exact = stated.exact(x);
      const double error = std::fabs(static_cast<double>(y[i]) - exact), size = std::fabs(exact);
      ASSERT_LE(error, size < 1e-36 ? 1e-36 : size * stated.ulps * 0x1p-23)
          << stated.name << " of " << x << ": expected " << exact << ", got " << y[i];
      ASSERT_LE(error, 2e-7 * std::fmax(1, std::fabs(x))) << stated.name << " of " << x;
    }
  }
  EXPECT_EQ(BitsOf(RefSilu(-100.0f)), 0x80000000u);
  EXPECT_LT(std::fabs(RefSilu(-3e38f)), 1e-36f);
  _mm_setcsr(csr);
}

}  // namespace
}  // namespace fusiontree::kernels
