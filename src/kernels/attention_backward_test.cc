// The backward of attention: every variant against its twin by memcmp, cut anywhere, and against the formula
// in double precision. That the formula is the gradient of attention is shown in
// ops/attention_backward_test.cc.
#include <algorithm>
#include <array>

#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

using AttentionBackwardTest = VariantTest;
using Floats = std::vector<float>;

constexpr int64_t kGap = 5;  // columns beside the heads that are nobody's

struct Case {
  int64_t keys, first_key, queries, first_position, window, heads, d;
  bool round;
  Floats k, v, q, dout, max, inverse_sum, dot, dq, dk, dv;
  Case(int64_t key_count, int64_t block, int64_t query_count, int64_t position, int64_t w, int64_t h,
       int64_t dim, bool rounded, Draw draw)
      : keys(key_count),
        first_key(block * kKeyBlock),
        queries(query_count),
        first_position(position),
        window(w),
        heads(h),
        d(dim),
        round(rounded),
        k(draw.Normals(keys * Row(1))),
        v(draw.Normals(keys * Row(1))),
        q(draw.Normals(queries * Row(heads))),
        dout(draw.Normals(queries * Row(heads))),
        max(draw.Normals(queries * heads)),
        inverse_sum(draw.Normals(queries * heads)),
        dot(draw.Normals(queries * heads)),
        dq(draw.Normals(queries * Row(heads))),
        dk(draw.Normals(keys * Row(1))),
        dv(draw.Normals(keys * Row(1))) {
    for (float& x : max) x = std::fabs(x) + 1.0f;
    for (float& x : inverse_sum) x = std::fabs(x) + 0.1f;
    if (!round) return;
    for (Floats* cached : {&k, &v})
      for (float& x : *cached) x = Bf16(ToBf16(x));
  }
  int64_t Row(int64_t of) const { return of * d + kGap; }
  float scale() const { return 1.2f / std::sqrt(static_cast<float>(d)); }
  bool Sees(int64_t i, int64_t j) const {
    const int64_t behind = first_position + i - first_key - j;
    return behind >= 0 && (window == 0 || behind < window);
  }
};
struct Gradients {
  Floats dq, dk, dv;
};

// Queries [begin, end), added to g.
void Part(const Table& table, const Case& c, int64_t begin, int64_t end, Gradients* g) {
  const Bytes scratch(kScratchBytes);
  const int64_t row = c.Row(c.heads), statistic = begin * c.heads;
  AttentionBackwardArgs args = {};
  args.k = c.k.data();
  args.v = c.v.data();
  args.kv_stride = args.dkv_stride = c.Row(1);
  args.keys = c.keys;
  args.first_key = c.first_key;
  args.q = c.q.data() + begin * row;
  args.dout = c.dout.data() + begin * row;
  args.q_stride = args.dout_stride = args.dq_stride = row;
  args.max = c.max.data() + statistic;
  args.inverse_sum = c.inverse_sum.data() + statistic;
  args.dot = c.dot.data() + statistic;
  args.statistics_stride = args.heads = c.heads;
  args.queries = end - begin;
  args.d = c.d;
  args.first_position = c.first_position + begin;
  args.window = c.window;
  args.scale = c.scale();
  args.round = c.round;
  args.dq = g->dq.data() + begin * row;
  args.dk = g->dk.data();
  args.dv = g->dv.data();
  args.scratch = scratch.data();
  table.backward->attention(&args);
}
Gradients Whole(const Table& table, const Case& c) {
  Gradients g = {c.dq, c.dk, c.dv};
  Part(table, c, 0, c.queries, &g);
  return g;
}
void ExpectSame(const Gradients& got, const Gradients& expected) {
  const auto same = [](const Floats& p, const Floats& q) {
    return SameBits(p.data(), q.data(), static_cast<int64_t>(p.size()));
  };
  ASSERT_TRUE(same(got.dq, expected.dq)) << "dq";
  ASSERT_TRUE(same(got.dk, expected.dk)) << "dk";
  ASSERT_TRUE(same(got.dv, expected.dv)) << "dv";
}

// The header's formula. With `round` the operands are rounded, the sums are not.
struct Doubles {
  std::vector<double> dq, dk, dv;
};
Doubles Exact(const Case& c) {
  Doubles g = {{c.dq.begin(), c.dq.end()}, {c.dk.begin(), c.dk.end()}, {c.dv.begin(), c.dv.end()}};
  const auto in = [&](double x) {
    return c.round ? static_cast<double>(Bf16(ToBf16(static_cast<float>(x)))) : x;
  };
  for (int64_t i = 0; i < c.queries; ++i) {
    for (int64_t h = 0; h < c.heads; ++h) {
      const size_t row = static_cast<size_t>(i * c.Row(c.heads) + h * c.d),
                   statistic = static_cast<size_t>(i * c.heads + h);
      for (int64_t j = 0; j < c.keys; ++j) {
        if (!c.Sees(i, j)) continue;
        const size_t key = static_cast<size_t>(j * c.Row(1)), d = static_cast<size_t>(c.d);
        const auto at = [](const Floats& of, size_t n) { return static_cast<double>(of[n]); };
        double score = 0, dp = 0;
        for (size_t n = 0; n < d; ++n) {
          score += in(at(c.q, row + n)) * at(c.k, key + n);
          dp += in(at(c.dout, row + n)) * at(c.v, key + n);
        }
        const double scale = static_cast<double>(c.scale());
        const double p = std::exp(score * scale - at(c.max, statistic)) * at(c.inverse_sum, statistic);
        const double ds = in(p * (dp - at(c.dot, statistic)) * scale);
        for (size_t n = 0; n < d; ++n) {
          g.dq[row + n] += ds * at(c.k, key + n);
          g.dk[key + n] += ds * in(at(c.q, row + n));
          g.dv[key + n] += in(p)*in(at(c.dout, row + n));
        }
      }
    }
  }
  return g;
}
void ExpectNear(const Floats& got, const std::vector<double>& expected, const Floats& before,
                double tolerance) {
  double largest = 0, moved = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    moved = std::max(moved, std::fabs(expected[i] - static_cast<double>(before[i])));
  }
  ASSERT_GT(moved, 1e-3) << "nothing to see";
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(static_cast<double>(got[i]), expected[i], tolerance * largest) << "element " << i;
}

TEST_P(AttentionBackwardTest, EqualsTwinAndTheFormula) {
  uint64_t seed = 0;
  for (const int64_t d : {1, 8, 10, 32, 64, 80, 100}) {
    for (const int64_t window : {0, 1, 5, 64, 100}) {
      for (const bool round : {false, true}) {
        // Few keys at the start of a document, and whole tiles with both ends short.
        for (const auto& [keys, block, queries, position] :
             {std::array<int64_t, 4>{3, 0, 3, 0}, {64, 1, 150, 50}, {39, 2, 39, 128}, {64, 0, 5, 61}}) {
          ++seed;
          const Case one(keys, block, queries, position, window, 1 + static_cast<int64_t>(seed % 2), d, round,
                         Draw(seed));
          const Gradients got = Whole(table(), one), expected = Whole(twin(), one);
          ASSERT_NO_FATAL_FAILURE(ExpectSame(got, expected))
              << "d " << d << ", window " << window << ", keys " << keys << ", queries " << queries << round;
          const Doubles exact = Exact(one);
          const double tolerance = round ? 2e-3 : 3e-6;
          ASSERT_NO_FATAL_FAILURE(ExpectNear(got.dk, exact.dk, one.dk, tolerance)) << "dk, d " << d;
          ASSERT_NO_FATAL_FAILURE(ExpectNear(got.dv, exact.dv, one.dv, tolerance)) << "dv, d " << d;
          ASSERT_NO_FATAL_FAILURE(ExpectNear(got.dq, exact.dq, one.dq, tolerance)) << "dq, d " << d;
        }
      }
    }
  }
}

TEST_P(AttentionBackwardTest, LargestHeads) {
  const Case one(64, 3, 90, 180, 0, 2, kMaxHeadDim, false, Draw(5));
  const Gradients got = Whole(table(), one);
  ASSERT_NO_FATAL_FAILURE(ExpectSame(got, Whole(twin(), one)));
  ASSERT_NO_FATAL_FAILURE(ExpectNear(got.dk, Exact(one).dk, one.dk, 3e-6));
}

// Queries of one head in one call or in two: the sums go on where they were.
TEST_P(AttentionBackwardTest, CutAnywhereIsTheSame) {
  for (const int64_t window : {0, 40, 100}) {
    const Case one(64, 1, 140, 60, window, 1, 20, false, Draw(7));
    const Gradients whole = Whole(table(), one);
    for (int64_t cut = 1; cut < one.queries; cut += cut < 20 ? 1 : 13) {
      Gradients got = {one.dq, one.dk, one.dv};
      Part(table(), one, 0, cut, &got);
      Part(table(), one, cut, one.queries, &got);
      ASSERT_NO_FATAL_FAILURE(ExpectSame(got, whole)) << "window " << window << ", cut " << cut;
    }
  }
}

// Key by key: what a query does not see has no part in its dq, and it none in the key's dk and dv.
TEST_P(AttentionBackwardTest, AKeyOutOfSightChangesNothing) {
  for (const int64_t window : {0, 1, 17, 64, 70}) {
    const Case one(64, 1, 150, 55, window, 1, 12, false, Draw(11));
    const Gradients whole = Whole(table(), one);
    for (int64_t j = 0; j < one.keys; j += 7) {
      Case other = one;
      for (int64_t n = 0; n < one.d; ++n) {
        other.k[static_cast<size_t>(j * one.Row(1) + n)] += 1.0f;
        other.v[static_cast<size_t>(j * one.Row(1) + n)] -= 1.0f;
      }
      const Gradients got = Whole(table(), other);
      for (int64_t i = 0; i < one.queries; ++i) {
        const int64_t at = i * one.Row(1);
        ASSERT_EQ(static_cast<bool>(SameBits(got.dq.data() + at, whole.dq.data() + at, one.d)),
                  !one.Sees(i, j))
            << "window " << window << ", query " << i << ", key " << j;
      }
    }
    for (int64_t i = 0; i < one.queries; i += 7) {
      Case other = one;
      for (int64_t n = 0; n < one.d; ++n) other.dout[static_cast<size_t>(i * one.Row(1) + n)] += 1.0f;
      const Gradients got = Whole(table(), other);
      for (int64_t j = 0; j < one.keys; ++j) {
        const int64_t at = j * one.Row(1);
        ASSERT_EQ(static_cast<bool>(SameBits(got.dk.data() + at, whole.dk.data() + at, one.d)),
                  !one.Sees(i, j));
        ASSERT_EQ(static_cast<bool>(SameBits(got.dv.data() + at, whole.dv.data() + at, one.d)),
                  !one.Sees(i, j));
      }
    }
  }
}

TEST_P(AttentionBackwardTest, DotsEqualTwinAndTheSum) {
  for (int64_t d = 1; d <= 70; ++d) {
    for (const bool round : {false, true}) {
      Draw draw(static_cast<uint64_t>(d));
      const Floats out = draw.Normals(3 * d), dout = draw.Normals(3 * d);
      float got[3], expected[3];
      table().backward->attention_dots(out.data(), dout.data(), 3, d, round, got);
      twin().backward->attention_dots(out.data(), dout.data(), 3, d, round, expected);
      ASSERT_TRUE(SameBits(got, expected, 3)) << "d " << d;
      for (int64_t h = 0; h < 3; ++h) {
        double sum = 0;
        for (size_t i = static_cast<size_t>(h * d); i < static_cast<size_t>((h + 1) * d); ++i)
          sum += static_cast<double>(out[i]) * static_cast<double>(round ? Bf16(ToBf16(dout[i])) : dout[i]);
        ASSERT_NEAR(static_cast<double>(got[h]), sum, 1e-5) << "d " << d << round;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, AttentionBackwardTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
