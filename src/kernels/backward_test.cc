// The backward of functions, norms, mix, rotary embedding and convolution: every variant against its twin by
// memcmp, and the gradients against central differences of a double-precision forward.
#include <functional>

#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

using BackwardTest = VariantTest;
using Doubles = std::vector<double>;

Doubles Wide(const std::vector<float>& v) { return {v.begin(), v.end()}; }

// d loss / d at[i] by central differences.
double Slope(const std::function<double()>& loss, double* at) {
  const double kept = *at, step = 1e-4;
  const auto side = [&](double by) {
    *at = kept + by;
    return loss();
  };
  // Fourth order.
  const double slope = (8 * (side(step) - side(-step)) - (side(2 * step) - side(-2 * step))) / (12 * step);
  *at = kept;
  return slope;
}

double Exact(int function, double x) {
  switch (function) {
    case kSilu:
      return x / (1 + std::exp(-x));
    case kGelu:
      return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case kTanh:
      return std::tanh(x);
    case kSigmoid:
      return 1 / (1 + std::exp(-x));
    default:
      return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));
  }
}

TEST_P(BackwardTest, FunctionsEqualTwinAndSlope) {
  std::vector<float> x;
  for (double v = -30; v < 30; v += 0.00173) x.push_back(static_cast<float>(v));
  for (const float edge : {0.0f, -0.0f, 1e-20f, -1e-20f, 0.625f, 90.0f, -90.0f, 1e30f, -1e30f})
    x.push_back(edge);
  const int64_t n = static_cast<int64_t>(x.size());
  const std::vector<float> dy = Draw(1).Normals(n);
  for (int f = 0; f < kFunctions; ++f) {
    for (const int64_t count : {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{33}, n}) {
      std::vector<float> got(x.size() + 16, 7.0f), expected = got;
      table().backward->apply[f](x.data(), dy.data(), count, got.data());
      twin().backward->apply[f](x.data(), dy.data(), count, expected.data());
      ASSERT_TRUE(SameBits(got.data(), expected.data(), n + 16)) << "function " << f << ", n " << count;
      if (count < n) continue;
      for (size_t i = 0; i < x.size(); ++i) {
        double at = static_cast<double>(x[i]);
        const double slope = std::fabs(at) > 1e6 ? (f == kTanh || f == kSigmoid || at < 0 ? 0.0 : 1.0)
                                                 : Slope([&] { return Exact(f, at); }, &at);
        ASSERT_NEAR(static_cast<double>(got[i]), slope * static_cast<double>(dy[i]),
                    std::fabs(static_cast<double>(dy[i])) * (std::fabs(slope) * 1e-6 + 3e-7))
            << "function " << f << " at " << x[i];
      }
      std::vector<float> same = dy;
      table().backward->apply[f](x.data(), same.data(), n, same.data());
      ASSERT_TRUE(SameBits(same.data(), expected.data(), n)) << "in place";
    }
  }
}

// What is small keeps its digits: sigmoid' and tanh' far out, from either side.
TEST_P(BackwardTest, SmallDerivativesAreAccurate) {
  for (const float x : {-80.0f, -30.0f, -12.0f, 12.0f, 30.0f, 80.0f}) {
    const float one = 1.0f, half = x * 0.5f;
    float y;
    const double e = std::exp(-std::fabs(static_cast<double>(x))), exact = e / ((1 + e) * (1 + e));
    table().backward->apply[kSigmoid](&x, &one, 1, &y);
    EXPECT_NEAR(static_cast<double>(y) / exact, 1, 4e-7);
    table().backward->apply[kTanh](&half, &one, 1, &y);
    EXPECT_NEAR(static_cast<double>(y) / (4 * exact), 1, 4e-7);
  }
}

double Norm(const Doubles& x, const Doubles& w, const Doubles& dy, bool centred, double eps) {
  const double n = static_cast<double>(x.size());
  double mean = 0, variance = 0, loss = 0;
  if (centred)
    for (const double v : x) mean += v / n;
  for (const double v : x) variance += (v - mean) * (v - mean) / n;
  for (size_t i = 0; i < x.size(); ++i) loss += dy[i] * (x[i] - mean) / std::sqrt(variance + eps) * w[i];
  return loss;
}

TEST_P(BackwardTest, NormsEqualTwinAndSlope) {
  for (int64_t n = 1; n <= 90; ++n) {
    for (const bool centred : {false, true}) {
      Draw draw(static_cast<uint64_t>(n));
      std::vector<float> x = draw.Normals(n);
      const std::vector<float> weight = draw.Normals(n), dy = draw.Normals(n), before = draw.Normals(n);
      for (float& v : x) v += 0.5f;
      std::vector<float> dx(x.size() + 16, 7.0f), twin_dx = dx;
      float stats[2], twin_stats[2];
      const NormBackwardArgs args = {x.data(), weight.data(), dy.data(), n, 1e-2f, dx.data(), stats},
                             twin_args = {x.data(), weight.data(),  dy.data(), n,
                                          1e-2f,    twin_dx.data(), twin_stats};
      (centred ? table().backward->layer_norm : table().backward->rms_norm)(&args);
      (centred ? twin().backward->layer_norm : twin().backward->rms_norm)(&twin_args);
      ASSERT_TRUE(SameBits(dx.data(), twin_dx.data(), n + 16)) << "n " << n;
      ASSERT_TRUE(SameBits(stats, twin_stats, 2));
      // Weight gradients, in two ranges of columns against one.
      std::vector<float> dweight = before, dbias = before, twin_dweight = before, twin_dbias = before;
      const int64_t cut = n / 3;
      table().backward->norm_weight(x.data(), dy.data(), stats, cut, dweight.data(), dbias.data());
      table().backward->norm_weight(x.data() + cut, dy.data() + cut, stats, n - cut, dweight.data() + cut,
                                    dbias.data() + cut);
      twin().backward->norm_weight(x.data(), dy.data(), stats, n, twin_dweight.data(), twin_dbias.data());
      ASSERT_TRUE(SameBits(dweight.data(), twin_dweight.data(), n));
      ASSERT_TRUE(SameBits(dbias.data(), twin_dbias.data(), n));
      table().backward->norm_weight(x.data(), dy.data(), stats, n, twin_dweight.data(), nullptr);
      Doubles wide_x = Wide(x), wide_w = Wide(weight);
      const Doubles wide_dy = Wide(dy);
      const auto loss = [&] { return Norm(wide_x, wide_w, wide_dy, centred, static_cast<double>(1e-2f)); };
      for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(dx[i]), Slope(loss, &wide_x[i]), 4e-5)
            << "n " << n << ", " << i << centred;
        ASSERT_NEAR(static_cast<double>(dweight[i] - before[i]), Slope(loss, &wide_w[i]), 4e-6);
        ASSERT_EQ(dbias[i], before[i] + dy[i]);
      }
      const NormBackwardArgs in_place = {x.data(), weight.data(), dx.data(), n, 1e-2f, dx.data(), stats};
      std::copy(dy.begin(), dy.end(), dx.begin());
      (centred ? table().backward->layer_norm : table().backward->rms_norm)(&in_place);
      ASSERT_TRUE(SameBits(dx.data(), twin_dx.data(), n)) << "in place";
    }
  }
}

TEST_P(BackwardTest, MixEqualsTwinAndSlope) {
  for (int64_t n = 1; n <= 70; ++n) {
    for (const int64_t step : {0, 1}) {
      Draw draw(static_cast<uint64_t>(n));
      const std::vector<float> gate = draw.Normals(step ? n : 1), m = draw.Normals(n), a = draw.Normals(n),
                               dout = draw.Normals(n);
      std::vector<float> out[2][3];
      for (auto& tables : out)
        for (auto& v : tables) v.assign(m.size() + 16, 7.0f);
      const MixBackwardArgs args = {gate.data(),     step, m.data(),         a.data(),
                                    dout.data(),     n,    out[0][0].data(), out[0][1].data(),
                                    out[0][2].data()},
                            twin_args = {gate.data(),     step, m.data(),         a.data(),
                                         dout.data(),     n,    out[1][0].data(), out[1][1].data(),
                                         out[1][2].data()};
      table().backward->mix(&args);
      twin().backward->mix(&twin_args);
      for (int v = 0; v < 3; ++v)
        ASSERT_TRUE(SameBits(out[0][v].data(), out[1][v].data(), n + 16)) << "n " << n << ", " << v;
      Doubles wide[3] = {Wide(gate), Wide(m), Wide(a)};
      const auto loss = [&] {
        double sum = 0;
        for (size_t i = 0; i < m.size(); ++i) {
          const double g = wide[0][step ? i : 0];
          sum += static_cast<double>(dout[i]) * (g * wide[1][i] + (1 - g) * wide[2][i]);
        }
        return sum;
      };
      for (size_t v = 0; v < 3; ++v)
        for (size_t i = 0; i < wide[v].size(); ++i)
          ASSERT_NEAR(static_cast<double>(out[0][v][i]), Slope(loss, &wide[v][i]), 1e-5) << v << " " << i;
    }
  }
}

// The rotation turned back is the gradient: <rope(x), d> = <x, rope'(d)>.
TEST_P(BackwardTest, RopeEqualsTwinAndIsTheTranspose) {
  for (int64_t half = 1; half <= 70; ++half) {
    Draw draw(static_cast<uint64_t>(half));
    std::vector<float> x = draw.Normals(2 * half), d = draw.Normals(2 * half), cos, sin;
    const std::vector<float> x_before = x, d_before = d;
    for (const float angle : draw.Normals(half)) {
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
    std::vector<float> expected = d;
    table().rope(x.data(), cos.data(), sin.data(), half);
    table().backward->rope(d.data(), cos.data(), sin.data(), half);
    twin().backward->rope(expected.data(), cos.data(), sin.data(), half);
    ASSERT_TRUE(SameBits(d.data(), expected.data(), 2 * half)) << "half " << half;
    double forward = 0, backward = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      forward += static_cast<double>(x[i]) * static_cast<double>(d_before[i]);
      backward += static_cast<double>(x_before[i]) * static_cast<double>(d[i]);
    }
    ASSERT_NEAR(forward, backward, 1e-6 * static_cast<double>(half));
  }
}

constexpr int64_t kChannels = 48;

struct ConvGradients {
  std::vector<float> dx, dweight, dbias;
};
struct ConvCase {
  int64_t rows, width;
  ConvEnd end;
  std::vector<float> x, history, weight, bias, dout, dweight, dbias;
  ConvCase(int64_t r, int64_t w, ConvEnd e, Draw draw)
      : rows(r),
        width(w),
        end(e),
        x(draw.Normals(r * kChannels)),
        history(draw.Normals((w - 1) * kChannels)),
        weight(draw.Normals(w * kChannels)),
        bias(draw.Normals(kChannels)),
        dout(draw.Normals(r * kChannels)),
        dweight(draw.Normals(w * kChannels)),
        dbias(draw.Normals(kChannels)) {}
  ConvGradients Run(const Table& table, bool with_bias, bool halves) {
    ConvGradients got = {std::vector<float>(x.size(), 7.0f), dweight, dbias};
    for (int64_t c = 0; c < kChannels; c += halves ? 16 : kChannels) {
      const ConvArgs forward = {x.data(),
                                kChannels,
                                history.data(),
                                kChannels,
                                weight.data(),
                                kChannels,
                                with_bias ? bias.data() : nullptr,
                                rows,
                                width,
                                c,
                                halves ? c + 16 : kChannels,
                                end,
                                nullptr,
                                0};
      const ConvBackwardArgs args = {
          forward,   dout.data(),        kChannels, got.dx.data(),
          kChannels, got.dweight.data(), kChannels, with_bias ? got.dbias.data() : nullptr};
      table.backward->conv(&args);
    }
    return got;
  }
};

TEST_P(BackwardTest, ConvEqualsTwinAndSlope) {
  for (const int64_t width : {1, 2, 3, 4, 5}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 9}) {
      for (const ConvEnd end : {kConvSilu, kConvAddInput}) {
        const bool with_bias = rows % 2 == 1;
        ConvCase one(rows, width, end, Draw(static_cast<uint64_t>(100 * width + rows)));
        const ConvGradients got = one.Run(table(), with_bias, true),
                            expected = one.Run(twin(), with_bias, false);
        ASSERT_TRUE(SameBits(got.dx.data(), expected.dx.data(), rows * kChannels))
            << "width " << width << ", rows " << rows;
        ASSERT_TRUE(SameBits(got.dweight.data(), expected.dweight.data(), width * kChannels))
            << "width " << width;
        ASSERT_TRUE(SameBits(got.dbias.data(), expected.dbias.data(), kChannels));
        const int64_t c = (width * 7 + rows * 3) % kChannels;  // one channel: they are alike
        Doubles x, weight, bias = {static_cast<double>(one.bias[static_cast<size_t>(c)])};
        for (int64_t t = 0; t < rows; ++t)
          x.push_back(static_cast<double>(one.x[static_cast<size_t>(t * kChannels + c)]));
        for (int64_t k = 0; k < width; ++k)
          weight.push_back(static_cast<double>(one.weight[static_cast<size_t>(k * kChannels + c)]));
        const auto loss = [&] {
          double sum = 0;
          for (int64_t t = 0; t < rows; ++t) {
            double y = with_bias ? bias[0] : 0;
            for (int64_t k = 0; k < width; ++k) {
              const int64_t row = t + k - (width - 1);
              y += weight[static_cast<size_t>(k)] *
                   (row < 0 ? static_cast<double>(one.history[static_cast<size_t>((t + k) * kChannels + c)])
                            : x[static_cast<size_t>(row)]);
            }
            const double out = end == kConvSilu ? y / (1 + std::exp(-y)) : x[static_cast<size_t>(t)] + y;
            sum += static_cast<double>(one.dout[static_cast<size_t>(t * kChannels + c)]) * out;
          }
          return sum;
        };
        for (int64_t t = 0; t < rows; ++t)
          ASSERT_NEAR(static_cast<double>(got.dx[static_cast<size_t>(t * kChannels + c)]),
                      Slope(loss, &x[static_cast<size_t>(t)]), 2e-5);
        for (int64_t k = 0; k < width; ++k) {
          const size_t at = static_cast<size_t>(k * kChannels + c);
          ASSERT_NEAR(static_cast<double>(got.dweight[at] - one.dweight[at]),
                      Slope(loss, &weight[static_cast<size_t>(k)]), 2e-5);
        }
        const size_t at = static_cast<size_t>(c);
        ASSERT_NEAR(static_cast<double>(got.dbias[at] - one.dbias[at]), with_bias ? Slope(loss, &bias[0]) : 0,
                    2e-5);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, BackwardTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
