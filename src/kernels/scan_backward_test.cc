// The selective scan's backward: every variant against its twin by memcmp, cut anywhere, and against a
// double-precision reverse pass that is itself held against central differences.
#include <functional>

#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

using ScanBackwardTest = VariantTest;
using Floats = std::vector<float>;

constexpr int64_t kChannels = 160;  // two groups of 64 channels and a short one
constexpr int64_t kGroups = 3;

struct Gradients {
  Floats dx, ddelta, dz, db, dc, da, dskip, dstate;
};

struct Case {
  int64_t rows, n;
  bool gated = true;
  Floats x, delta, z, b, c, a, skip, state, dout, da, dskip, dstate;
  Case(int64_t r, int64_t states, Draw draw)
      : rows(r),
        n(states),
        x(draw.Normals(r * kChannels)),
        delta(draw.Normals(r * kChannels)),
        z(draw.Normals(r * kChannels, 2.0f)),
        b(draw.Normals(r * states)),
        c(draw.Normals(r * states)),
        a(draw.Normals(states * kChannels)),
        skip(draw.Normals(kChannels)),
        state(draw.Normals(states * kChannels)),
        dout(draw.Normals(r * kChannels)),
        da(draw.Normals(states * kChannels)),
        dskip(draw.Normals(kChannels)),
        dstate(draw.Normals(states * kChannels)) {
    for (float& v : delta) v = std::exp(1.5f * v - 2.0f);
    for (float& v : a) v = -std::exp(v);
  }
  Gradients Start() const {
    Gradients g;
    g.dx = g.ddelta = g.dz = Floats(x.size());
    g.db = g.dc = Floats(static_cast<size_t>(kGroups * rows * n));
    g.da = da;
    g.dskip = dskip;
    g.dstate = dstate;
    return g;
  }
  // Rows [begin, end) from the state `from`, channels [first, last).
  void Part(const Table& table, Floats from, int64_t begin, int64_t end, int64_t first, int64_t last,
            Gradients* g) const {
    Floats scratch(static_cast<size_t>(((end - begin) * (n + 1) + 4 * n) * kScanGroup));
    const int64_t at = begin * kChannels;
    ScanBackwardArgs args = {};
    args.forward = {x.data() + at,
                    delta.data() + at,
                    gated ? z.data() + at : nullptr,
                    kChannels,
                    kChannels,
                    kChannels,
                    b.data() + begin * n,
                    c.data() + begin * n,
                    n,
                    a.data(),
                    kChannels,
                    skip.data(),
                    from.data(),
                    kChannels,
                    end - begin,
                    n,
                    first,
                    last,
                    nullptr,
                    0};
    args.dout = dout.data() + at;
    args.dx = g->dx.data() + at;
    args.ddelta = g->ddelta.data() + at;
    args.dz = gated ? g->dz.data() + at : nullptr;
    args.dout_stride = args.dx_stride = args.ddelta_stride = args.dz_stride = kChannels;
    args.db = g->db.data() + begin * n;
    args.dc = g->dc.data() + begin * n;
    args.dbc_stride = n;
    args.group_stride = rows * n;
    args.da = g->da.data();
    args.dskip = g->dskip.data();
    args.dstate = g->dstate.data();
    args.da_stride = args.dstate_stride = kChannels;
    args.scratch = scratch.data();
    table.backward->scan(&args);
  }
  // The state after the first `count` rows, as a forward leaves it.
  Floats StateAfter(const Table& table, int64_t count) const {
    Floats s = state, out(x.size());
    const ScanArgs args = {x.data(),   delta.data(), nullptr, kChannels, kChannels, kChannels,
                           b.data(),   c.data(),     n,       a.data(),  kChannels, skip.data(),
                           s.data(),   kChannels,    count,   n,         0,         kChannels,
                           out.data(), kChannels};
    table.scan(&args);
    return s;
  }
};

void ExpectSame(const Gradients& got, const Gradients& expected) {
  const auto same = [](const Floats& p, const Floats& q) {
    return SameBits(p.data(), q.data(), static_cast<int64_t>(p.size()));
  };
  ASSERT_TRUE(same(got.dx, expected.dx)) << "dx";
  ASSERT_TRUE(same(got.ddelta, expected.ddelta)) << "ddelta";
  ASSERT_TRUE(same(got.dz, expected.dz)) << "dz";
  ASSERT_TRUE(same(got.db, expected.db)) << "db";
  ASSERT_TRUE(same(got.dc, expected.dc)) << "dc";
  ASSERT_TRUE(same(got.da, expected.da)) << "da";
  ASSERT_TRUE(same(got.dskip, expected.dskip)) << "dskip";
  ASSERT_TRUE(same(got.dstate, expected.dstate)) << "dstate";
}

TEST_P(ScanBackwardTest, EqualsTwin) {
  for (const int64_t n : {1, 5, 8, 16, 33}) {
    for (const int64_t rows : {1, 3, 64}) {
      Case one(rows, n, Draw(static_cast<uint64_t>(n * 100 + rows)));
      one.gated = rows != 3;
      for (size_t i = 0; i < one.delta.size(); i += 7) one.delta[i] *= 200.0f;  // some forget at once
      Gradients got = one.Start(), expected = got;
      one.Part(table(), one.state, 0, rows, 0, kChannels, &got);
      one.Part(twin(), one.state, 0, rows, 0, kChannels, &expected);
      ASSERT_NO_FATAL_FAILURE(ExpectSame(got, expected)) << "n " << n << ", rows " << rows;
    }
  }
}

// Last piece first, from the states that the forward passed through; groups of channels one by one.
TEST_P(ScanBackwardTest, CutAnywhereIsTheSame) {
  const int64_t rows = 13, n = 6;
  const Case one(rows, n, Draw(3));
  Gradients whole = one.Start();
  one.Part(table(), one.state, 0, rows, 0, kChannels, &whole);
  for (int64_t cut = 1; cut < rows; ++cut) {
    Gradients got = one.Start();
    const Floats between = one.StateAfter(table(), cut);
    for (int64_t c = 0; c < kChannels; c += kScanGroup) {
      const int64_t end = std::min(c + kScanGroup, kChannels);
      one.Part(table(), between, cut, rows, c, end, &got);
      one.Part(table(), one.state, 0, cut, c, end, &got);
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSame(got, whole)) << "cut " << cut;
  }
}

using Doubles = std::vector<double>;
// The scan in double precision: its loss (sum of dout out and dstate s_end), and the reverse pass written
// plainly.
struct Twin {
  int64_t rows, n;
  bool gated;
  Doubles x, delta, z, b, c, a, skip, state, dout, dstate;
  explicit Twin(const Case& k) : rows(k.rows), n(k.n), gated(k.gated) {
    const auto wide = [](const Floats& v) { return Doubles(v.begin(), v.end()); };
    x = wide(k.x), delta = wide(k.delta), z = wide(k.z), b = wide(k.b), c = wide(k.c), a = wide(k.a),
    skip = wide(k.skip);
    state = wide(k.state), dout = wide(k.dout), dstate = wide(k.dstate);
    for (double& v : a) v *= std::log(2.0);  // A itself
  }
  static size_t U(int64_t i) { return static_cast<size_t>(i); }
  double Gate(size_t at) const { return gated ? z[at] / (1 + std::exp(-z[at])) : 1; }
  double Loss(int64_t only) const {  // of one channel
    double loss = 0;
    Doubles s(U(n));
    for (int64_t i = 0; i < n; ++i) s[U(i)] = state[U(i * kChannels + only)];
    for (int64_t t = 0; t < rows; ++t) {
      const size_t at = U(t * kChannels + only);
      double y = skip[U(only)] * x[at];
      for (int64_t i = 0; i < n; ++i) {
        s[U(i)] =
            std::exp(delta[at] * a[U(i * kChannels + only)]) * s[U(i)] + delta[at] * x[at] * b[U(t * n + i)];
        y += s[U(i)] * c[U(t * n + i)];
      }
      loss += dout[at] * y * Gate(at);
    }
    for (int64_t i = 0; i < n; ++i) loss += dstate[U(i * kChannels + only)] * s[U(i)];
    return loss;
  }
  struct Out {
    Doubles dx, ddelta, dz, db, dc, da, dskip, dstate;
  };
  Out Backward() const {
    Out g;
    g.dx = g.ddelta = g.dz = Doubles(x.size());
    g.db = g.dc = Doubles(U(kGroups * rows * n));
    g.da = Doubles(a.size());
    g.dskip = Doubles(skip.size());
    g.dstate = dstate;
    for (int64_t ch = 0; ch < kChannels; ++ch) {
      std::vector<Doubles> s(U(rows + 1), Doubles(U(n)));
      Doubles y(U(rows));
      for (int64_t i = 0; i < n; ++i) s[0][U(i)] = state[U(i * kChannels + ch)];
      for (int64_t t = 0; t < rows; ++t) {
        const size_t at = U(t * kChannels + ch);
        y[U(t)] = skip[U(ch)] * x[at];
        for (int64_t i = 0; i < n; ++i) {
          s[U(t + 1)][U(i)] = std::exp(delta[at] * a[U(i * kChannels + ch)]) * s[U(t)][U(i)] +
                              delta[at] * x[at] * b[U(t * n + i)];
          y[U(t)] += s[U(t + 1)][U(i)] * c[U(t * n + i)];
        }
      }
      for (int64_t t = rows; t-- > 0;) {
        const size_t at = U(t * kChannels + ch);
        const double dy = dout[at] * Gate(at), sigmoid = 1 / (1 + std::exp(-z[at]));
        g.dz[at] = dout[at] * y[U(t)] * sigmoid * (1 + z[at] * (1 - sigmoid));
        g.dskip[U(ch)] += dy * x[at];
        g.dx[at] = dy * skip[U(ch)];
        for (int64_t i = 0; i < n; ++i) {
          double& carry = g.dstate[U(i * kChannels + ch)];
          const double rate = a[U(i * kChannels + ch)], e = std::exp(delta[at] * rate),
                       before = s[U(t)][U(i)];
          const size_t bc = U((ch / kScanGroup * rows + t) * n + i);
          const double ds = dy * c[U(t * n + i)] + carry;
          g.dc[bc] += dy * s[U(t + 1)][U(i)];
          g.db[bc] += ds * delta[at] * x[at];
          g.dx[at] += ds * delta[at] * b[U(t * n + i)];
          g.ddelta[at] += ds * (x[at] * b[U(t * n + i)] + e * before * rate);
          g.da[U(i * kChannels + ch)] += ds * e * before * delta[at];
          carry = e * ds;
        }
      }
    }
    return g;
  }
};

double Slope(const std::function<double()>& loss, double* at) {
  const double kept = *at, step = 1e-5;
  *at = kept + step;
  const double above = loss();
  *at = kept - step;
  const double below = loss();
  *at = kept;
  return (above - below) / (2 * step);
}

TEST(ScanBackwardOracle, EqualsCentralDifferences) {
  Twin twin(Case(7, 4, Draw(8)));
  const Twin::Out g = twin.Backward();
  const auto near = [&](Doubles* input, const Doubles& gradient, int64_t row, int64_t ch) {
    const size_t at = static_cast<size_t>(row * kChannels + ch);
    const double slope = Slope([&] { return twin.Loss(ch); }, &(*input)[at]);
    EXPECT_NEAR(gradient[at], slope, 1e-6 * (1 + std::fabs(slope)));
  };
  for (int64_t ch = 0; ch < kChannels; ch += 13) {
    for (int64_t t = 0; t < twin.rows; ++t) {
      near(&twin.x, g.dx, t, ch);
      near(&twin.delta, g.ddelta, t, ch);
      near(&twin.z, g.dz, t, ch);
    }
    for (int64_t i = 0; i < twin.n; ++i) {
      near(&twin.a, g.da, i, ch);
      near(&twin.state, g.dstate, i, ch);
    }
    near(&twin.skip, g.dskip, 0, ch);
  }
  for (int64_t i = 0; i < twin.rows * twin.n; ++i) {
    for (int64_t group = 0; group < kGroups; ++group) {
      const auto loss = [&] {
        double sum = 0;
        for (int64_t ch = group * kScanGroup; ch < std::min((group + 1) * kScanGroup, kChannels); ++ch)
          sum += twin.Loss(ch);
        return sum;
      };
      const size_t at = static_cast<size_t>(i), in = static_cast<size_t>(group * twin.rows * twin.n + i);
      EXPECT_NEAR(g.db[in], Slope(loss, &twin.b[at]), 1e-5);
      EXPECT_NEAR(g.dc[in], Slope(loss, &twin.c[at]), 1e-5);
    }
  }
}

// Every gradient within 2e-6 of the largest of its kind, for long memories and short ones.
TEST_P(ScanBackwardTest, EqualsOracle) {
  for (const int64_t rows : {1, 6, 64}) {
    for (const bool gated : {false, true}) {
      Case one(rows, 16, Draw(static_cast<uint64_t>(rows)));
      one.gated = gated;
      Gradients got = one.Start();
      one.Part(table(), one.state, 0, rows, 0, kChannels, &got);
      const Twin::Out exact = Twin(one).Backward();
      const auto near = [&](const char* name, const Floats& floats, const Floats* before,
                            const Doubles& expected) {
        double most = 0;
        for (const double v : expected) most = std::fmax(most, std::fabs(v));
        for (size_t i = 0; i < expected.size(); ++i) {
          const double start = before ? static_cast<double>((*before)[i]) : 0;
          ASSERT_NEAR(static_cast<double>(floats[i]) - start, expected[i], 2e-6 * (most + 1))
              << name << " " << i << ", rows " << rows;
        }
      };
      near("dx", got.dx, nullptr, exact.dx);
      near("ddelta", got.ddelta, nullptr, exact.ddelta);
      if (gated) near("dz", got.dz, nullptr, exact.dz);
      near("db", got.db, nullptr, exact.db);
      near("dc", got.dc, nullptr, exact.dc);
      near("da", got.da, &one.da, exact.da);
      near("dskip", got.dskip, &one.dskip, exact.dskip);
      near("dstate", got.dstate, nullptr, exact.dstate);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, ScanBackwardTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
