// Row operations: every variant against its twin by memcmp at all lengths, and against double precision.
#include "kernels/kernels_testing.h"
#include "kernels/ref.h"

namespace fusiontree::kernels {
namespace {

using RowsTest = VariantTest;

TEST_P(RowsTest, RmsNormEqualsTwinAndOracle) {
  for (int64_t n = 1; n <= 200; ++n) {
    Draw draw(static_cast<uint64_t>(n));
    const std::vector<float> x = draw.Normals(n, 3.0f), weight = draw.Normals(n);
    std::vector<float> got(x.size() + 16, 7.0f), expected = got;
    ASSERT_TRUE(table().rms_norm(x.data(), weight.data(), n, 1e-6f, got.data()));
    ASSERT_TRUE(twin().rms_norm(x.data(), weight.data(), n, 1e-6f, expected.data()));
    ASSERT_TRUE(SameBits(got.data(), expected.data(), n + 16)) << "n " << n;
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-6);
    for (size_t i = 0; i < x.size(); ++i) {
      const double y = static_cast<double>(x[i]) * scale * static_cast<double>(weight[i]);
      ASSERT_NEAR(static_cast<double>(got[i]), y, std::fabs(y) * static_cast<double>(n / 16 + 8) * 0x1p-24);
    }
    std::vector<float> same = x;
    table().rms_norm(same.data(), weight.data(), n, 1e-6f, same.data());
    ASSERT_TRUE(SameBits(same.data(), expected.data(), n)) << "in place, n " << n;
  }
}

TEST_P(RowsTest, NormAndAllFiniteFindWhatIsNotFinite) {
  for (const int64_t n : {1, 15, 16, 33, 64, 130, 897}) {
    const std::vector<float> x = Draw(3).Normals(n), weight(static_cast<size_t>(n), 1.0f);
    std::vector<float> out(x.size());
    EXPECT_TRUE(table().all_finite(x.data(), n));
    for (size_t i = 0; i < x.size(); ++i) {
      for (const uint32_t bad : {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc12345u}) {
        std::vector<float> broken = x;
        broken[i] = OfBits(bad);
        ASSERT_FALSE(table().all_finite(broken.data(), n)) << "n " << n << " at " << i;
        ASSERT_FALSE(table().rms_norm(broken.data(), weight.data(), n, 0.0f, out.data()))
            << "n " << n << " at " << i;
      }
    }
    const std::vector<float> greatest(x.size(), 3.4e38f);
    EXPECT_TRUE(table().all_finite(greatest.data(), n));
    EXPECT_FALSE(table().rms_norm(greatest.data(), weight.data(), n, 0.0f, out.data()));
  }
}

TEST_P(RowsTest, RopeEqualsTwinAndOracle) {
  for (int64_t half = 1; half <= 130; ++half) {
    Draw draw(static_cast<uint64_t>(half));
    const std::vector<float> x = draw.Normals(2 * half), angle = draw.Normals(half);
    std::vector<float> cos, sin, got = x, expected = x;
    for (const float t : angle) {
      cos.push_back(std::cos(t));
      sin.push_back(std::sin(t));
    }
    got.resize(x.size() + 16, 7.0f);
    expected.resize(x.size() + 16, 7.0f);
    table().rope(got.data(), cos.data(), sin.data(), half);
    twin().rope(expected.data(), cos.data(), sin.data(), half);
    ASSERT_TRUE(SameBits(got.data(), expected.data(), 2 * half + 16)) << "half " << half;
    for (int64_t i = 0; i < half; ++i) {
      const size_t u = static_cast<size_t>(i), v = static_cast<size_t>(i + half);
      const double a = static_cast<double>(x[u]), b = static_cast<double>(x[v]),
                   c = static_cast<double>(cos[u]), s = static_cast<double>(sin[u]);
      ASSERT_NEAR(static_cast<double>(got[u]), a * c - b * s, 4 * 0x1p-24 * (std::fabs(a) + std::fabs(b)));
      ASSERT_NEAR(static_cast<double>(got[v]), b * c + a * s, 4 * 0x1p-24 * (std::fabs(a) + std::fabs(b)));
    }
  }
}

TEST_P(RowsTest, ArgmaxTakesTheFirstOfEquals) {
  for (int64_t n = 1; n <= 150; ++n) {
    std::vector<float> x = Draw(static_cast<uint64_t>(n)).Normals(n);
    ASSERT_EQ(table().argmax(x.data(), n), twin().argmax(x.data(), n));
    for (int64_t i = 0; i < n; i += 3) {
      std::vector<float> tied = x;
      tied[static_cast<size_t>(i)] = tied[static_cast<size_t>(n - 1)] = 9.0f;
      ASSERT_EQ(table().argmax(tied.data(), n), i);
    }
    for (float& v : x) v = -std::fabs(v) - 1.0f;  // a tail's missing lanes must not win
    ASSERT_EQ(table().argmax(x.data(), n), twin().argmax(x.data(), n));
    const std::vector<float> equal(x.size(), -2.0f);
    ASSERT_EQ(table().argmax(equal.data(), n), 0);
  }
}

TEST_P(RowsTest, ExpSumEqualsTwinAndOracle) {
  for (const int64_t n : {1, 2, 15, 16, 17, 100, 4095, 4096, 4097, 9000}) {
    const std::vector<float> x = Draw(static_cast<uint64_t>(n)).Normals(n, 8.0f);
    std::vector<float> got(x.size() + 16, 7.0f), expected = got;
    const float sum = table().exp_sum(x.data(), n, 11.5f, got.data());
    const float twin_sum = twin().exp_sum(x.data(), n, 11.5f, expected.data());
    ASSERT_TRUE(SameBits(got.data(), expected.data(), n + 16)) << "n " << n;
    ASSERT_TRUE(SameBits(&sum, &twin_sum, 1)) << "n " << n;
    double oracle = 0;
    for (const float v : x) oracle += std::exp(static_cast<double>(v) - 11.5);
    ASSERT_NEAR(static_cast<double>(sum) / oracle, 1.0, 1e-5);
    std::vector<float> same = x;
    ASSERT_EQ(table().exp_sum(same.data(), n, 11.5f, same.data()), sum);
    ASSERT_TRUE(SameBits(same.data(), expected.data(), n)) << "in place, n " << n;
  }
}

// Less than 2 units in the last place over the whole range, seen through exp_sum.
TEST_P(RowsTest, ExpIsAccurateEverywhere) {
  std::vector<float> x;
  for (double v = -90.0; v < 89.0; v += 0.00731) x.push_back(static_cast<float>(v));
  for (const float edge :
       {-87.33f, -87.3300095f, 88.37f, 88.3700104f, 0.0f, -0.0f, 1e-30f, 200.0f, -200.0f, 1e38f, -1e38f})
    x.push_back(edge);
  std::vector<float> got(x.size()), expected(x.size());
  table().exp_sum(x.data(), static_cast<int64_t>(x.size()), 0.0f, got.data());
  twin().exp_sum(x.data(), static_cast<int64_t>(x.size()), 0.0f, expected.data());
  ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(x.size())));
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(BitsOf(RefExp(x[i])), BitsOf(got[i]));
    const double clamped = x[i] > 88.37f ? static_cast<double>(88.37f) : static_cast<double>(x[i]);
    const double oracle = x[i] < -87.33f ? 0.0 : std::exp(clamped);
    ASSERT_NEAR(static_cast<double>(got[i]), oracle, oracle * 0x1p-22) << "exp " << x[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, RowsTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
