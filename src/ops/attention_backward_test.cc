// The backward of attention against central differences of a double-precision forward, and against the
// formula in double (itself held against them) where there are too many for that; the same bits on any number
// of threads.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "base/philox.h"
#include "kernels/variants.h"
#include "ops/attention.h"

namespace fusiontree::ops {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats Random(uint64_t seed, int64_t n) {
  Floats values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = base::Philox(seed, i, 0);
    values[i] = static_cast<float>(base::UnitDouble(bits[0], bits[1]) * 3.0 - 1.5);
  }
  return values;
}

struct Document {
  int64_t before, rows;  // keys whose rows are not in the batch, and those that are
};

// One layer's heads over packed documents. Arrays are [all positions of all documents, heads * d].
struct Layer {
  AttentionShape shape;
  std::vector<Document> documents;
  Doubles q, k, v, dout;

  Layer(const AttentionShape& s, std::vector<Document> d, uint64_t seed) : shape(s), documents(std::move(d)) {
    const auto fill = [&](Doubles* to, int64_t heads, uint64_t of) {
      const Floats values = Random(seed * 10 + of, Positions() * heads * shape.head_dim);
      to->assign(values.begin(), values.end());
    };
    fill(&q, shape.heads, 0);
    fill(&k, shape.kv_heads, 1);
    fill(&v, shape.kv_heads, 2);
    fill(&dout, shape.heads, 3);
  }
  int64_t Positions() const {
    int64_t n = 0;
    for (const Document& d : documents) n += d.before + d.rows;
    return n;
  }
  size_t Q(int64_t row, int64_t head) const {
    return static_cast<size_t>((row * shape.heads + head) * shape.head_dim);
  }
  size_t K(int64_t row, int64_t head) const {
    return static_cast<size_t>((row * shape.kv_heads + (shape.first_query + head) / shape.group) *
                               shape.head_dim);
  }
  // Plain loops: instrumented builds do not optimise them.
  static double Dot(const double* x, const double* y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
    return sum;
  }
  // f(row, head, first key row, last key row) of every query of the batch.
  void EachQuery(const std::function<void(int64_t, int64_t, int64_t, int64_t)>& f) const {
    int64_t start = 0;
    for (const Document& d : documents) {
      for (int64_t i = d.before; i < d.before + d.rows; ++i)
        for (int64_t h = 0; h < shape.heads; ++h)
          f(start + i, h, start + (shape.window ? std::max<int64_t>(0, i - shape.window + 1) : 0), start + i);
      start += d.before + d.rows;
    }
  }
  Doubles Probabilities(int64_t row, int64_t head, int64_t first, int64_t last) const {
    Doubles p;
    double sum = 0;
    const double scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
    for (int64_t j = first; j <= last; ++j) {
      p.push_back(std::exp(Dot(&q[Q(row, head)], &k[K(j, head)], shape.head_dim) * scale));
      sum += p.back();
    }
    for (double& x : p) x /= sum;
    return p;
  }
  // <out, dout>.
  double Loss() const {
    double loss = 0;
    EachQuery([&](int64_t row, int64_t head, int64_t first, int64_t last) {
      const Doubles p = Probabilities(row, head, first, last);
      for (int64_t j = first; j <= last; ++j)
        loss += p[static_cast<size_t>(j - first)] * Dot(&v[K(j, head)], &dout[Q(row, head)], shape.head_dim);
    });
    return loss;
  }
};

struct Gradients {
  Doubles dq, dk, dv;
};
Gradients Exact(const Layer& l) {
  Gradients g = {Doubles(l.q.size()), Doubles(l.k.size()), Doubles(l.v.size())};
  const int64_t d = l.shape.head_dim;
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  l.EachQuery([&](int64_t row, int64_t head, int64_t first, int64_t last) {
    const Doubles p = l.Probabilities(row, head, first, last);
    const size_t at = l.Q(row, head);
    Doubles dp;
    double dot = 0;
    for (int64_t j = first; j <= last; ++j) {
      dp.push_back(Layer::Dot(&l.dout[at], &l.v[l.K(j, head)], d));
      dot += p[static_cast<size_t>(j - first)] * dp.back();
    }
    for (int64_t j = first; j <= last; ++j) {
      const double probability = p[static_cast<size_t>(j - first)],
                   ds = probability * (dp[static_cast<size_t>(j - first)] - dot) * scale;
      const size_t key = l.K(j, head);
      double *dq = &g.dq[at], *dk = &g.dk[key], *dv = &g.dv[key];
      const double *q = &l.q[at], *k = &l.k[key], *dout = &l.dout[at];
      for (int64_t c = 0; c < d; ++c) {
        dq[c] += ds * k[c];
        dk[c] += ds * q[c];
        dv[c] += probability * dout[c];
      }
    }
  });
  return g;
}

struct Result {
  Floats dq, dk, dv;  // as Layer's arrays; 0 where a position has no row
  bool operator==(const Result&) const = default;
};

constexpr int64_t kGap = 3;  // columns that are nobody's
constexpr float kNobody = 7.0f;

Result Backward(const Layer& l, int threads, const kernels::Table* table = kernels::RefTable()) {
  base::ThreadPool pool(threads);
  Context context(&pool, table);
  const int64_t d = l.shape.head_dim, q_stride = l.shape.heads * d + kGap,
                kv_stride = l.shape.kv_heads * d + kGap;
  const size_t bytes = table->attention[l.shape.kind].block_bytes(d);
  std::vector<KvSpan> spans, all;
  std::vector<tensor::Buffer> memory;
  int64_t rows = 0, start = 0;
  for (const Document& document : l.documents) {
    const int64_t positions = document.before + document.rows,
                  blocks = (positions + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
    KvSpan span = {start, positions, 0, 0, {}};
    for (int64_t h = 0; h < l.shape.kv_heads; ++h) {
      memory.push_back(tensor::Buffer::Create(static_cast<size_t>(blocks) * bytes).value());
      span.blocks.emplace_back();
      for (int64_t b = 0; b < blocks; ++b)
        span.blocks.back().push_back(memory.back().data() + static_cast<size_t>(b) * bytes);
    }
    all.push_back(span);
    span.first_row = rows;
    span.count = document.rows;
    span.first_position = document.before;
    spans.push_back(span);
    rows += document.rows;
    start += positions;
  }
  const Floats k(l.k.begin(), l.k.end()), v(l.v.begin(), l.v.end());
  WriteKv(context, l.shape, all, k.data(), v.data(), l.shape.kv_heads * d);

  // Rows of the batch to and from rows of all positions.
  const auto each = [&](int64_t width, const std::function<void(int64_t, int64_t, int64_t)>& f) {
    for (size_t i = 0; i < spans.size(); ++i)
      for (int64_t r = 0; r < spans[i].count; ++r)
        for (int64_t c = 0; c < width; ++c)
          f(spans[i].first_row + r, all[i].first_row + spans[i].first_position + r, c);
  };
  const int64_t q_width = l.shape.heads * d, kv_width = l.shape.kv_heads * d;
  Floats q(static_cast<size_t>(rows * q_stride)), out = q, dout = q, dq(q.size(), kNobody);
  Floats dk(static_cast<size_t>(rows * kv_stride), kNobody), dv = dk;
  each(q_width, [&](int64_t row, int64_t position, int64_t c) {
    const size_t to = static_cast<size_t>(row * q_stride + c),
                 from = static_cast<size_t>(position * q_width + c);
    q[to] = static_cast<float>(l.q[from]);
    dout[to] = static_cast<float>(l.dout[from]);
  });
  Floats max(static_cast<size_t>(rows * l.shape.heads)), inverse_sum = max, plain = out;
  const AttentionStatistics statistics = {max.data(), inverse_sum.data()};
  Attention(context, l.shape, spans, q.data(), q_stride, plain.data(), q_stride);
  Attention(context, l.shape, spans, q.data(), q_stride, out.data(), q_stride, statistics);
  EXPECT_EQ(out, plain) << "statistics change nothing";
  AttentionBackward(context, l.shape, spans, q.data(), q_stride, statistics, out.data(), q_stride,
                    dout.data(), q_stride, dq.data(), q_stride, dk.data(), dv.data(), kv_stride);
  Result result = {Floats(l.q.size()), Floats(l.k.size()), Floats(l.v.size())};
  each(q_stride, [&](int64_t row, int64_t position, int64_t c) {
    const float value = dq[static_cast<size_t>(row * q_stride + c)];
    if (c >= q_width) {
      EXPECT_EQ(value, kNobody);
    } else {
      result.dq[static_cast<size_t>(position * q_width + c)] = value;
    }
  });
  each(kv_stride, [&](int64_t row, int64_t position, int64_t c) {
    const size_t from = static_cast<size_t>(row * kv_stride + c),
                 to = static_cast<size_t>(position * kv_width + c);
    if (c >= kv_width) {
      EXPECT_EQ(dk[from], kNobody);
      EXPECT_EQ(dv[from], kNobody);
    } else {
      result.dk[to] = dk[from];
      result.dv[to] = dv[from];
    }
  });
  return result;
}

// Of the rows of the batch: the others have no gradient.
void ExpectNear(const Layer& l, const Floats& got, const Doubles& expected, double tolerance,
                const char* of) {
  const int64_t width = static_cast<int64_t>(got.size()) / l.Positions();
  double largest = l.shape.window == 1 ? 1 : 0;  // one key: its P is 1, and dq and dk are 0
  for (const double x : expected) largest = std::max(largest, std::fabs(x));
  ASSERT_GT(largest, 0.1);
  int64_t start = 0;
  for (const Document& d : l.documents) {
    for (int64_t i = 0; i < (d.before + d.rows) * width; ++i) {
      const size_t at = static_cast<size_t>(start * width + i);
      ASSERT_NEAR(static_cast<double>(got[at]), i < d.before * width ? 0.0 : expected[at],
                  tolerance * largest)
          << of << " of row " << start + i / width << ", column " << i % width;
    }
    start += d.before + d.rows;
  }
}
void ExpectNear(const Layer& l, const Result& got, const Gradients& expected, double tolerance) {
  ASSERT_NO_FATAL_FAILURE(ExpectNear(l, got.dq, expected.dq, tolerance, "dq"));
  ASSERT_NO_FATAL_FAILURE(ExpectNear(l, got.dk, expected.dk, tolerance, "dk"));
  ASSERT_NO_FATAL_FAILURE(ExpectNear(l, got.dv, expected.dv, tolerance, "dv"));
}

// Heads, KV heads, window, group and first query, as whole models and as ranks of them.
std::vector<AttentionShape> Shapes(kernels::AttentionKind kind) {
  return {{kind, 4, 2, 6, 0, 2, 0}, {kind, 4, 2, 6, 5, 2, 0}, {kind, 3, 3, 5, 1, 1, 0},
          {kind, 3, 2, 6, 0, 2, 1}, {kind, 2, 1, 8, 9, 4, 2}, {kind, 5, 2, 3, 7, 4, 1}};
}

TEST(AttentionBackward, IsTheSlopeOfTheForward) {
  for (const AttentionShape& shape : Shapes(kernels::kAttentionF32)) {
    Layer layer(shape, {{0, 9}, {0, 1}, {0, 4}}, 1);
    Gradients slope;
    const auto slopes = [&](Doubles* of) {
      Doubles result;
      for (double& x : *of) {
        const double kept = x, step = 1e-3;
        const auto side = [&](double by) {
          x = kept + by;
          return layer.Loss();
        };
        // Fourth order.
        result.push_back((8 * (side(step) - side(-step)) - (side(2 * step) - side(-2 * step))) / (12 * step));
        x = kept;
      }
      return result;
    };
    slope = {slopes(&layer.q), slopes(&layer.k), slopes(&layer.v)};
    const Gradients exact = Exact(layer);
    for (size_t i = 0; i < exact.dk.size(); ++i) ASSERT_NEAR(exact.dk[i], slope.dk[i], 1e-8);
    for (size_t i = 0; i < exact.dq.size(); ++i) ASSERT_NEAR(exact.dq[i], slope.dq[i], 1e-8);
    ASSERT_NO_FATAL_FAILURE(ExpectNear(layer, Backward(layer, 2), slope, 2e-6))
        << "window " << shape.window << ", group " << shape.group;
  }
}

// Documents of several blocks, two of them with keys before their rows; fp32 and rounded operands.
TEST(AttentionBackward, PackedDocumentsAndKeysBefore) {
  for (const auto kind : {kernels::kAttentionF32, kernels::kAttentionBf16}) {
    for (AttentionShape shape : Shapes(kind)) {
      if (shape.window > 5) shape.window = 70;
      const Layer layer(shape, {{0, 150}, {37, 100}, {0, 3}, {128, 1}}, 2);
      const Result got = Backward(layer, 1);
      ASSERT_NO_FATAL_FAILURE(
          ExpectNear(layer, got, Exact(layer), kind == kernels::kAttentionF32 ? 3e-6 : 1e-2))
          << "window " << shape.window << ", group " << shape.group;
      for (const int threads : {2, 3}) ASSERT_TRUE(Backward(layer, threads) == got) << threads << " threads";
      ASSERT_TRUE(Backward(layer, 3, kernels::Best().table) == Backward(layer, 1, kernels::Best().table));
    }
  }
}

TEST(AttentionBackward, PackedDocumentsEqualSeparateOnes) {
  const AttentionShape shape = {kernels::kAttentionBf16, 2, 1, 16, 90, 2};
  const Layer packed(shape, {{0, 150}, {0, 77}}, 3);
  const Result together = Backward(packed, 2);
  int64_t start = 0;
  for (const Document& document : packed.documents) {
    Layer alone(shape, {document}, 4);
    const auto part = [&](const auto& of, int64_t heads) {
      const int64_t width = heads * shape.head_dim;
      return std::vector(of.begin() + start * width, of.begin() + (start + document.rows) * width);
    };
    alone.q = part(packed.q, 2);
    alone.k = part(packed.k, 1);
    alone.v = part(packed.v, 1);
    alone.dout = part(packed.dout, 2);
    const Result expected = {part(together.dq, 2), part(together.dk, 1), part(together.dv, 1)};
    EXPECT_TRUE(Backward(alone, 1) == expected) << document.rows << " rows";
    start += document.rows;
  }
}

// More keys than a split holds: each split's part of dq is added in order.
TEST(AttentionBackward, LongDocumentsAreCutIntoSplits) {
  const kernels::Table* table = kernels::Best().table;
  for (const int64_t window : {0, 100, 2100}) {
    const Layer layer({kernels::kAttentionF32, 2, 1, 4, window, 2}, {{0, 2170}, {2000, 150}}, 5);
    const Result got = Backward(layer, 1, table);
    ASSERT_NO_FATAL_FAILURE(ExpectNear(layer, got, Exact(layer), 1e-5)) << "window " << window;
    for (const int threads : {2, 3})
      ASSERT_TRUE(Backward(layer, threads, table) == got) << "window " << window << ", threads " << threads;
  }
  // Three splits; the window ends the second one's queries before the document's.
  for (const int64_t window : {0, 100}) {
    const Layer three({kernels::kAttentionF32, 2, 1, 4, window, 2}, {{0, 4200}}, 6);
    const Result got = Backward(three, 1, table);
    if (window != 0) {
      ASSERT_NO_FATAL_FAILURE(ExpectNear(three, got, Exact(three), 1e-5));
    }
    for (const int threads : {2, 3})
      ASSERT_TRUE(Backward(three, threads, table) == got) << "window " << window << ", threads " << threads;
  }
}

}  // namespace
}  // namespace fusiontree::ops
