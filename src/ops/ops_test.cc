// Operations give one answer however many threads share them, and the plain answer.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "base/philox.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace fusiontree::ops {
namespace {

std::vector<float> Random(uint64_t seed, size_t n) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    const auto bits = base::Philox(seed, i, 0);
    values[i] = static_cast<float>(base::UnitDouble(bits[0], bits[1]) * 4.0 - 2.0);
  }
  return values;
}

// A cache of `positions` keys and values of `heads` heads, blocks null before `first`.
struct Cache {
  Cache(const kernels::AttentionOps& ops, int64_t heads, int64_t positions, int64_t d, uint64_t seed) {
    const int64_t blocks = (positions + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
    memory = tensor::Buffer::Create(static_cast<size_t>(heads * blocks) * ops.block_bytes(d)).value();
    span.blocks.resize(static_cast<size_t>(heads));
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t b = 0; b < blocks; ++b)
        span.blocks[static_cast<size_t>(h)].push_back(memory.data() + static_cast<size_t>(h * blocks + b) *
                                                                          ops.block_bytes(d));
    keys = Random(seed, static_cast<size_t>(positions * heads * d));
    values = Random(seed + 1, static_cast<size_t>(positions * heads * d));
  }
  tensor::Buffer memory;
  KvSpan span;
  std::vector<float> keys, values;  // [positions, heads * d]
};

std::vector<float> Attend(int threads, kernels::AttentionKind kind, int64_t queries, int64_t positions,
                          int64_t window) {
  const int64_t heads = 4, kv_heads = 2, d = 8;
  base::ThreadPool pool(threads);
  Context context(&pool, kernels::RefTable());
  Cache cache(context.kernels().attention[kind], kv_heads, positions, d, 3);
  const AttentionShape shape{kind, heads, kv_heads, d, window, heads / kv_heads};
  cache.span.first_row = 0;
  cache.span.first_block = 0;
  cache.span.count = positions;
  cache.span.first_position = 0;
  WriteKv(context, shape, {cache.span}, cache.keys.data(), cache.values.data(), kv_heads * d);
  cache.span.count = queries;
  cache.span.first_position = positions - queries;
  const std::vector<float> q = Random(9, static_cast<size_t>(queries * heads * d));
  std::vector<float> out(static_cast<size_t>(queries * heads * d));
  Attention(context, shape, {cache.span}, q.data(), heads * d, out.data(), heads * d);
  return out;
}

TEST(Attention, OneAnswerWhetherHistoriesAreCutOverThreadsOrNot) {
  for (auto kind : {kernels::kAttentionF32, kernels::kAttentionBf16}) {
    for (int64_t window : {0, 100, 2500}) {
      for (int64_t queries : {1, 5}) {
        const std::vector<float> one = Attend(1, kind, queries, 4500, window);
        for (int threads : {2, 3, 8}) {
          const std::vector<float> many = Attend(threads, kind, queries, 4500, window);
          EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0)
              << "window " << window << " queries " << queries << " threads " << threads;
        }
      }
    }
  }
}

TEST(Attention, EqualsThePlainFormula) {
  const int64_t positions = 300, d = 8, heads = 4, kv_heads = 2;
  for (int64_t window : {0, 1, 64, 100}) {
    const std::vector<float> out = Attend(2, kernels::kAttentionF32, positions, positions, window);
    const std::vector<float> k = Random(3, static_cast<size_t>(positions * kv_heads * d)),
                             v = Random(4, k.size());
    const std::vector<float> q = Random(9, static_cast<size_t>(positions * heads * d));
    for (int64_t i = 0; i < positions; ++i)
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t kv = h * kv_heads / heads, first = window ? std::max<int64_t>(0, i - window + 1) : 0;
        std::vector<double> p;
        double sum = 0;
        for (int64_t j = first; j <= i; ++j) {
          double s = 0;
          for (int64_t c = 0; c < d; ++c)
            s += static_cast<double>(q[static_cast<size_t>((i * heads + h) * d + c)]) *
                 k[static_cast<size_t>((j * kv_heads + kv) * d + c)];
          p.push_back(std::exp(s / std::sqrt(static_cast<double>(d))));
          sum += p.back();
        }
        for (int64_t c = 0; c < d; ++c) {
          double expected = 0;
          for (int64_t j = first; j <= i; ++j)
            expected +=
                p[static_cast<size_t>(j - first)] / sum * v[static_cast<size_t>((j * kv_heads + kv) * d + c)];
          ASSERT_NEAR(out[static_cast<size_t>((i * heads + h) * d + c)], expected, 2e-5)
              << "query " << i << " window " << window;
        }
      }
  }
}

TEST(Linear, OneAnswerForAnyThreadsAndRowsAlone) {
  const int64_t m = 13, k = 96, panels = 3;
  const std::vector<float> x = Random(1, static_cast<size_t>(m * k)),
                           w = Random(2, static_cast<size_t>(panels * 32 * k));
  const kernels::MatrixOps& ops = kernels::RefTable()->matrix[kernels::kF32F32];
  std::vector<std::byte> packed(static_cast<size_t>(panels) * ops.panel_bytes(k, 2));
  for (int64_t p = 0; p < panels; ++p)
    ASSERT_TRUE(ops.pack_weight(w.data() + p * 32 * k, static_cast<size_t>(k) * 4, 32, k, 2,
                                packed.data() + static_cast<size_t>(p) * ops.panel_bytes(k, 2)));
  const Matrix matrix{kernels::kF32F32, k, 2, panels, packed.data(), nullptr};
  auto run = [&](int threads, int64_t first, int64_t rows) {
    base::ThreadPool pool(threads);
    Context context(&pool, kernels::RefTable());
    std::vector<float> out(static_cast<size_t>(rows * panels * 32));
    const Rows in = PackRows(context, x.data() + first * k, k, rows, matrix, TakeRows(context, rows, matrix));
    Matmul(context, in, matrix, kernels::kStore, out.data(), panels * 32);
    return out;
  };
  const std::vector<float> one = run(1, 0, m);
  for (int threads : {2, 3, 7}) EXPECT_EQ(run(threads, 0, m), one);
  for (int64_t r = 0; r < m; ++r)
    EXPECT_EQ(run(2, r, 1),
              std::vector<float>(one.begin() + r * panels * 32, one.begin() + (r + 1) * panels * 32));
  for (int64_t n = 0; n < panels * 32; ++n) {
    double expected = 0;
    for (int64_t i = 0; i < k; ++i)
      expected += static_cast<double>(x[static_cast<size_t>(i)]) * w[static_cast<size_t>(n * k + i)];
    EXPECT_NEAR(one[static_cast<size_t>(n)], expected, 1e-4);
  }
}

// Angles of bf16 precision would tell 897 of 8,192 positions apart.
TEST(Rope, EveryPositionHasAnglesOfItsOwn) {
  base::ThreadPool pool(1);
  Context context(&pool, kernels::RefTable());
  constexpr int64_t kPositions = 8192, kHalf = 16;
  std::vector<int64_t> positions(kPositions);
  for (int64_t p = 0; p < kPositions; ++p) positions[static_cast<size_t>(p)] = p;
  std::vector<float> frequencies;
  for (int i = 0; i < kHalf; ++i) frequencies.push_back(static_cast<float>(std::pow(10000.0, -i / 16.0)));
  const RopeAngles angles = MakeRopeAngles(context, positions.data(), kPositions, frequencies.data(), kHalf);
  std::set<std::vector<float>> rows;
  for (int64_t p = 0; p < kPositions; ++p) {
    std::vector<float> row(angles.cos + p * kHalf, angles.cos + (p + 1) * kHalf);
    row.insert(row.end(), angles.sin + p * kHalf, angles.sin + (p + 1) * kHalf);
    rows.insert(row);
    // Of the product in fp32, as Transformers has it.
    const double angle = static_cast<double>(static_cast<float>(p) * frequencies[3]);
    ASSERT_NEAR(angles.cos[p * kHalf + 3], std::cos(angle), 1e-7);
    ASSERT_NEAR(angles.sin[p * kHalf + 3], std::sin(angle), 1e-7);
  }
  EXPECT_EQ(rows.size(), static_cast<size_t>(kPositions));
}

}  // namespace
}  // namespace fusiontree::ops
