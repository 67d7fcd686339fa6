// Convolution, scan, LayerNorm and mix: every variant against its twin by memcmp for many shapes, cut
// anywhere, and against double precision.
#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

using SequenceTest = VariantTest;

// A [rows, stride] array whose last row ends with its last vector.
struct Array {
  int64_t stride;
  std::vector<float> v;
  Array(Draw& draw, int64_t rows, int64_t width, float scale = 1.0f)
      : stride(width), v(draw.Normals(rows * width, scale)) {}
  float* Row(int64_t t) { return v.data() + t * stride; }
  const float* Row(int64_t t) const { return v.data() + t * stride; }
  double At(int64_t t, int64_t c) const {
    return static_cast<double>(v[static_cast<size_t>(t * stride + c)]);
  }
};

constexpr int64_t kChannels = 64;

struct ConvCase {
  int64_t rows, width;
  Array x, history, weight, bias;
  ConvCase(int64_t r, int64_t w, Draw draw)
      : rows(r),
        width(w),
        x(draw, r, kChannels + 16),
        history(draw, w - 1, kChannels + 32),
        weight(draw, w, kChannels),
        bias(draw, 1, kChannels) {}
  ConvArgs Args(ConvEnd end, bool with_bias, Array* out) const {
    return {x.Row(0),
            x.stride,
            history.v.data(),
            history.stride,
            weight.Row(0),
            weight.stride,
            with_bias ? bias.Row(0) : nullptr,
            rows,
            width,
            0,
            kChannels,
            end,
            out->Row(0),
            out->stride};
  }
};

TEST_P(SequenceTest, ConvEqualsTwinAndOracle) {
  for (const int64_t width : {1, 2, 3, 4, 5, 8}) {
    for (const int64_t rows : {1, 2, 3, 4, 7, 33}) {
      for (const ConvEnd end : {kConvSilu, kConvAddInput}) {
        Draw draw(static_cast<uint64_t>(width * 100 + rows));
        const ConvCase one(rows, width, draw);
        const bool with_bias = rows % 2 == 1;
        Array got(draw, rows, kChannels), expected = got;
        const ConvArgs args = one.Args(end, with_bias, &got), twin_args = one.Args(end, with_bias, &expected);
        table().conv(&args);
        twin().conv(&twin_args);
        ASSERT_TRUE(SameBits(got.Row(0), expected.Row(0), rows * kChannels))
            << "width " << width << ", rows " << rows;
        for (int64_t t = 0; t < rows; ++t) {
          for (int64_t c = 0; c < kChannels; ++c) {
            double y = with_bias ? one.bias.At(0, c) : 0, size = std::fabs(y);
            for (int64_t k = 0; k < width; ++k) {
              const int64_t row = t + k - (width - 1);
              const double term =
                  one.weight.At(k, c) * (row < 0 ? one.history.At(t + k, c) : one.x.At(row, c));
              y += term;
              size += std::fabs(term);
            }
            const double x = one.x.At(t, c), exact = end == kConvSilu ? y / (1 + std::exp(-y)) : x + y;
            ASSERT_NEAR(got.At(t, c), exact,
                        (size + std::fabs(x)) * static_cast<double>(width + 4) * 0x1p-24);
          }
        }
      }
    }
  }
}

// Any cut of the rows, the last inputs handed on as history, and any cut of the channels.
TEST_P(SequenceTest, ConvCutAnywhereIsTheSame) {
  for (const int64_t width : {1, 2, 4, 6}) {
    Draw draw(static_cast<uint64_t>(width));
    const int64_t rows = 11;
    const ConvCase one(rows, width, draw);
    Array whole(draw, rows, kChannels);
    const ConvArgs args = one.Args(kConvSilu, true, &whole);
    table().conv(&args);
    for (int64_t cut = 0; cut <= rows; ++cut) {
      Array got(draw, rows, kChannels), history = one.history;
      for (int64_t k = 0; k < width - 1; ++k) {  // the inputs before row `cut`
        const int64_t row = cut + k - (width - 1);
        memcpy(history.Row(k), row < 0 ? one.history.Row(cut + k) : one.x.Row(row),
               kChannels * sizeof(float));
      }
      for (int64_t c = 0; c < kChannels; c += 16) {
        ConvArgs part = one.Args(kConvSilu, true, &got);
        part.channel_begin = c;
        part.channel_end = c + 16;
        part.rows = cut;
        table().conv(&part);
        part.x = one.x.Row(cut);
        part.history = history.v.data();
        part.history_stride = history.stride;
        part.rows = rows - cut;
        part.out = got.Row(cut);
        table().conv(&part);
      }
      ASSERT_TRUE(SameBits(got.Row(0), whole.Row(0), rows * kChannels))
          << "width " << width << ", cut " << cut;
    }
  }
}

struct ScanCase {
  int64_t rows, n;
  Array x, delta, z, bc, a, skip, state;
  bool gated;
  ScanCase(int64_t r, int64_t states, Draw draw)
      : rows(r),
        n(states),
        x(draw, r, kChannels + 16),
        delta(draw, r, kChannels),
        z(draw, r, kChannels + 32),
        bc(draw, r, 2 * states + 3),
        a(draw, states, kChannels + 16),
        skip(draw, 1, kChannels),
        state(draw, states, kChannels),
        gated(true) {
    // Rates and steps from forgetting at once (2^-126 and below) to hardly ever.
    for (float& v : delta.v) v = std::exp(3.0f * v - 2.0f);
    for (float& v : a.v) v = -std::exp(2.0f * v);
  }
  ScanArgs Args(Array* to, Array* out) const {
    return {x.Row(0),
            delta.Row(0),
            gated ? z.Row(0) : nullptr,
            x.stride,
            delta.stride,
            z.stride,
            bc.Row(0),
            bc.Row(0) + n,
            bc.stride,
            a.Row(0),
            a.stride,
            skip.Row(0),
            to->Row(0),
            to->stride,
            rows,
            n,
            0,
            kChannels,
            out->Row(0),
            out->stride};
  }
};

TEST_P(SequenceTest, ScanEqualsTwinAndOracle) {
  for (const int64_t n : {1, 2, 7, 8, 15, 16, 17, 33, 64, 65, 70}) {
    for (const int64_t rows : {1, 2, 5, 70}) {
      Draw draw(static_cast<uint64_t>(n * 1000 + rows));
      ScanCase one(rows, n, draw);
      one.gated = rows != 5;
      Array got(draw, rows, kChannels), expected = got, state = one.state, twin_state = one.state;
      const ScanArgs args = one.Args(&state, &got), twin_args = one.Args(&twin_state, &expected);
      table().scan(&args);
      twin().scan(&twin_args);
      ASSERT_TRUE(SameBits(got.Row(0), expected.Row(0), rows * kChannels)) << "n " << n << ", rows " << rows;
      ASSERT_TRUE(SameBits(state.Row(0), twin_state.Row(0), n * kChannels)) << "n " << n << ", rows " << rows;
      for (int64_t c = 0; c < kChannels; ++c) {
        // Beside each state the sum of the sizes of what made it: errors are relative to that.
        std::vector<double> s(static_cast<size_t>(n)), size(s.size());
        for (int64_t i = 0; i < n; ++i)
          size[static_cast<size_t>(i)] = std::fabs(s[static_cast<size_t>(i)] = one.state.At(i, c));
        for (int64_t t = 0; t < rows; ++t) {
          const double x = one.x.At(t, c), delta = one.delta.At(t, c), z = one.z.At(t, c);
          double y = 0, y_size = 0;
          for (int64_t i = 0; i < n; ++i) {
            const size_t u = static_cast<size_t>(i);
            const double e = std::exp2(delta * one.a.At(i, c)), in = delta * x * one.bc.At(t, i);
            s[u] = e * s[u] + in;
            size[u] = e * size[u] + std::fabs(in);
            y += s[u] * one.bc.At(t, n + i);
            y_size += size[u] * std::fabs(one.bc.At(t, n + i));
          }
          y += one.skip.At(0, c) * x;
          y_size += std::fabs(one.skip.At(0, c) * x);
          const double gate = one.gated ? z / (1 + std::exp(-z)) : 1;
          const double bound = static_cast<double>(8 + 2 * rows + n) * 0x1p-24;
          ASSERT_NEAR(got.At(t, c), y * gate, y_size * std::fabs(gate) * bound) << "n " << n << ", row " << t;
        }
        for (int64_t i = 0; i < n; ++i) {
          const size_t u = static_cast<size_t>(i);
          ASSERT_NEAR(state.At(i, c), s[u], size[u] * static_cast<double>(4 + 2 * rows) * 0x1p-24);
        }
      }
    }
  }
}

// A decode step walks the states along their rows, over a thousand channels at a time.
TEST_P(SequenceTest, ScanOfOneWideRowEqualsTwin) {
  const int64_t channels = 2 * 1024 + 48, n = 5;
  Draw draw(1);
  const Array x(draw, 1, channels), bc(draw, 2, n), skip(draw, 1, channels), before(draw, n, channels);
  Array delta(draw, 1, channels), a(draw, n, channels), got(draw, 1, channels), expected = got;
  for (float& v : delta.v) v = std::exp(3.0f * v - 2.0f);
  for (float& v : a.v) v = -std::exp(2.0f * v);
  Array state = before, twin_state = before;
  ScanArgs args = {};
  args.x = args.z = x.Row(0);
  args.delta = delta.Row(0);
  args.b = bc.Row(0);
  args.c = bc.Row(1);
  args.a = a.Row(0);
  args.skip = skip.Row(0);
  args.a_stride = args.state_stride = channels;
  args.rows = 1;
  args.n = n;
  args.channel_begin = 16;
  args.channel_end = channels;
  args.state = state.Row(0);
  args.out = got.Row(0);
  table().scan(&args);
  args.state = twin_state.Row(0);
  args.out = expected.Row(0);
  twin().scan(&args);
  ASSERT_TRUE(SameBits(got.Row(0), expected.Row(0), channels));
  ASSERT_TRUE(SameBits(state.Row(0), twin_state.Row(0), n * channels));
}

// R5: the state is exact, so stopping and going on anywhere changes nothing; nor does the cut of the
// channels.
TEST_P(SequenceTest, ScanCutAnywhereIsTheSame) {
  for (const int64_t n : {3, 8, 16, 66}) {
    Draw draw(static_cast<uint64_t>(n));
    const int64_t rows = 9;
    const ScanCase one(rows, n, draw);
    Array whole(draw, rows, kChannels), end = one.state;
    const ScanArgs args = one.Args(&end, &whole);
    table().scan(&args);
    for (int64_t cut = 0; cut <= rows; ++cut) {
      Array got = one.delta, state = one.state;  // in place of delta
      for (int64_t c = 0; c < kChannels; c += 16) {
        ScanArgs part = one.Args(&state, &got);
        part.delta = got.Row(0);
        part.channel_begin = c;
        part.channel_end = c + 16;
        part.rows = cut;
        table().scan(&part);
        part.rows = rows - cut;
        part.x = one.x.Row(cut);
        part.delta = part.out = got.Row(cut);
        part.z = one.z.Row(cut);
        part.b = one.bc.Row(cut);
        part.c = part.b + n;
        table().scan(&part);
      }
      ASSERT_TRUE(SameBits(got.Row(0), whole.Row(0), rows * kChannels)) << "n " << n << ", cut " << cut;
      ASSERT_TRUE(SameBits(state.Row(0), end.Row(0), n * kChannels)) << "n " << n << ", cut " << cut;
    }
  }
}

// Channels past the width hold zeros and stay so; what is not finite is not hidden.
TEST_P(SequenceTest, ScanOfZerosIsZeroAndNanIsSeen) {
  Draw draw(5);
  ScanCase one(6, 16, draw);
  for (Array* array : {&one.x, &one.state}) std::fill(array->v.begin(), array->v.end(), 0.0f);
  Array out(draw, 6, kChannels), state = one.state;
  ScanArgs args = one.Args(&state, &out);
  table().scan(&args);
  for (const float v : out.v) ASSERT_EQ(v, 0.0f);
  for (const float v : state.v) ASSERT_EQ(v, 0.0f);
  for (const float bad : {OfBits(0x7fc00000), OfBits(0x7f800000)}) {
    for (Array* array : {&one.x, &one.delta, &one.z}) {
      const float kept = array->Row(2)[21], x = one.x.Row(2)[21];
      one.x.Row(2)[21] = 0.5f;
      array->Row(2)[21] = bad;
      state = one.state;
      args = one.Args(&state, &out);
      table().scan(&args);
      EXPECT_FALSE(std::isfinite(out.Row(2)[21]));
      EXPECT_TRUE(std::isfinite(out.Row(2)[20]));
      array->Row(2)[21] = kept;
      one.x.Row(2)[21] = x;
    }
  }
}

TEST_P(SequenceTest, LayerNormEqualsTwinAndOracle) {
  for (int64_t n = 1; n <= 200; ++n) {
    Draw draw(static_cast<uint64_t>(n));
    std::vector<float> x = draw.Normals(n, 3.0f);
    const std::vector<float> weight = draw.Normals(n), bias = draw.Normals(n);
    for (float& v : x) v += 2.0f;  // a mean that matters
    const float* offset = n % 3 == 0 ? nullptr : bias.data();
    std::vector<float> got(x.size() + 16, 7.0f), expected = got;
    ASSERT_TRUE(table().layer_norm(x.data(), weight.data(), offset, n, 1e-5f, got.data()));
    ASSERT_TRUE(twin().layer_norm(x.data(), weight.data(), offset, n, 1e-5f, expected.data()));
    ASSERT_TRUE(SameBits(got.data(), expected.data(), n + 16)) << "n " << n;
    double mean = 0, variance = 0, most = 0;
    for (const float v : x) mean += static_cast<double>(v) / static_cast<double>(n);
    for (const float v : x) {
      variance += std::pow(static_cast<double>(v) - mean, 2) / static_cast<double>(n);
      most = std::fmax(most, std::fabs(static_cast<double>(v)));
    }
    const double scale = 1 / std::sqrt(variance + 1e-5);
    for (size_t i = 0; i < x.size(); ++i) {
      const double w = static_cast<double>(weight[i]), b = offset ? static_cast<double>(bias[i]) : 0;
      const double y = (static_cast<double>(x[i]) - mean) * scale * w;
      ASSERT_NEAR(static_cast<double>(got[i]), y + b,
                  (most * scale * std::fabs(w) + std::fabs(b)) * static_cast<double>(n / 16 + 10) * 0x1p-24)
          << "n " << n;
    }
    table().layer_norm(x.data(), weight.data(), offset, n, 1e-5f, x.data());
    ASSERT_TRUE(SameBits(x.data(), expected.data(), n)) << "in place, n " << n;
  }
}

TEST_P(SequenceTest, LayerNormFindsWhatIsNotFinite) {
  for (const int64_t n : {1, 15, 16, 33, 130}) {
    const std::vector<float> x = Draw(3).Normals(n), weight(static_cast<size_t>(n), 1.0f);
    std::vector<float> out(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      for (const uint32_t bad : {0x7f800000u, 0xff800000u, 0x7fc00000u}) {
        std::vector<float> broken = x;
        broken[i] = OfBits(bad);
        ASSERT_FALSE(table().layer_norm(broken.data(), weight.data(), nullptr, n, 1e-5f, out.data())) << i;
      }
    }
  }
}

TEST_P(SequenceTest, MixEqualsTwinAndOracle) {
  for (int64_t n = 1; n <= 100; ++n) {
    for (const int64_t step : {0, 1}) {
      Draw draw(static_cast<uint64_t>(n));
      const std::vector<float> m = draw.Normals(n), a = draw.Normals(n);
      std::vector<float> gate(static_cast<size_t>(step ? n : 1));
      for (float& g : gate) g = static_cast<float>(draw.Below(1001)) * 0.001f;
      std::vector<float> got(m.size() + 16, 7.0f), expected = got;
      table().mix(gate.data(), step, m.data(), a.data(), n, got.data());
      twin().mix(gate.data(), step, m.data(), a.data(), n, expected.data());
      ASSERT_TRUE(SameBits(got.data(), expected.data(), n + 16)) << "n " << n;
      for (size_t i = 0; i < m.size(); ++i) {
        const double g = static_cast<double>(gate[step ? i : 0]), p = static_cast<double>(m[i]),
                     q = static_cast<double>(a[i]);
        ASSERT_NEAR(static_cast<double>(got[i]), g * p + (1 - g) * q,
                    (std::fabs(p) + std::fabs(q)) * 0x1p-22);
      }
      std::vector<float> same = m;
      table().mix(gate.data(), step, same.data(), a.data(), n, same.data());
      ASSERT_TRUE(SameBits(same.data(), expected.data(), n)) << "in place, n " << n;
      // A gate of exactly 1 or 0 gives that branch's bits: a pruned layer equals one with the branch zeroed.
      const std::vector<float> one(m.size(), 1.0f), zero(m.size(), 0.0f);
      table().mix(one.data(), step, m.data(), zero.data(), n, same.data());
      ASSERT_TRUE(SameBits(same.data(), m.data(), n));
      table().mix(zero.data(), step, zero.data(), a.data(), n, same.data());
      ASSERT_TRUE(SameBits(same.data(), a.data(), n));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, SequenceTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
