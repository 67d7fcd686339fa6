// Attention: every variant against its twin by memcmp, against a naive softmax in double precision, and
// against itself: one query or many, split or merged, blocks that nobody sees left unread.
#include <algorithm>

#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

struct Shape {
  int64_t queries = 1, heads = 1, d = 64, first_position = 0, window = 0,
          written = 0;  // positions in the cache
};

struct History {
  std::vector<float> k, v, q;  // [written, d] twice, [queries, heads, d]

  History(const Shape& s, uint64_t seed) {
    Draw draw(seed);
    k = draw.Normals(s.written * s.d);
    v = draw.Normals(s.written * s.d);
    q = draw.Normals(s.queries * s.heads * s.d, 1.5f);
  }
};

class Cache {
 public:
  Cache(const AttentionOps& ops, const Shape& s, const History& h)
      : block_bytes_(ops.block_bytes(s.d)),
        blocks_((s.written + kKeyBlock - 1) / kKeyBlock),
        bytes_(block_bytes_ * static_cast<size_t>(blocks_)) {
    for (int64_t j = 0; j < s.written; ++j) {
      ops.write(Block(j / kKeyBlock), j % kKeyBlock, s.d, h.k.data() + j * s.d, h.v.data() + j * s.d);
    }
    for (int64_t b = 0; b < blocks_; ++b) pointers_.push_back(Block(b));
  }
  char* Block(int64_t b) const {
    return static_cast<char*>(bytes_.data()) + block_bytes_ * static_cast<size_t>(b);
  }
  std::vector<const void*>& pointers() { return pointers_; }
  int64_t blocks() const { return blocks_; }

 private:
  size_t block_bytes_;
  int64_t blocks_;
  Bytes bytes_;
  std::vector<const void*> pointers_;
};

struct State {
  std::vector<float> max, sum, acc;
  int64_t stride;

  State(const Shape& s, float fill) : stride((s.d + 31) / 32 * 32 + 32) {
    const int64_t rows = s.queries * s.heads;
    max.assign(static_cast<size_t>(rows), fill);
    sum.assign(static_cast<size_t>(rows), fill);
    acc.assign(static_cast<size_t>(rows * stride), fill);
  }
};

State Split(const AttentionOps& ops, const Shape& s, const History& h, Cache& cache, int64_t key_begin,
            int64_t key_end) {
  State state(s, 3.0f);
  Bytes scratch(kScratchBytes);
  memset(scratch.data(), 0xff, kScratchBytes);
  AttentionArgs a = {};
  a.blocks = cache.pointers().data() + key_begin / kKeyBlock;
  a.key_begin = key_begin;
  a.key_end = key_end;
  a.q = h.q.data();
  a.q_stride = s.heads * s.d;
  a.queries = s.queries;
  a.heads = s.heads;
  a.d = s.d;
  a.first_position = s.first_position;
  a.window = s.window;
  a.scale = 1.0f / std::sqrt(static_cast<float>(s.d));
  a.max = state.max.data();
  a.sum = state.sum.data();
  a.acc = state.acc.data();
  a.acc_stride = state.stride;
  a.scratch = scratch.data();
  ops.split(&a);
  return state;
}

// All splits of a history, merged in order, divided.
std::vector<float> Attend(const Table& table, int kind, const Shape& s, const History& h, Cache& cache) {
  const int64_t end = s.first_position + s.queries, rows = s.queries * s.heads;
  State total(s, 0.0f);
  for (int64_t begin = 0; begin < end; begin += kSplitKeys) {
    State part = Split(table.attention[kind], s, h, cache, begin, std::min(end, begin + kSplitKeys));
    table.attention_merge(rows, s.d, total.stride, total.max.data(), total.sum.data(), total.acc.data(),
                          part.max.data(), part.sum.data(), part.acc.data());
  }
  std::vector<float> out(static_cast<size_t>(rows * s.d));
  table.attention_finish(s.queries, s.heads, s.d, total.stride, total.sum.data(), total.acc.data(),
                         out.data(), s.heads * s.d);
  return out;
}

bool Sees(const Shape& s, int64_t query, int64_t key) {
  const int64_t behind = s.first_position + query - key;
  return behind >= 0 && (s.window == 0 || behind < s.window);
}

std::string Name(const Shape& s) {
  return "queries " + std::to_string(s.queries) + " heads " + std::to_string(s.heads) + " d " +
         std::to_string(s.d) + " first " + std::to_string(s.first_position) + " window " +
         std::to_string(s.window);
}

Shape Random(Draw& draw) {
  Shape s;
  constexpr int64_t kDims[] = {8, 16, 32, 48, 64, 80, 96, 128, 256};
  s.d = kDims[draw.Below(9)];
  s.heads = draw.Below(3) == 0 ? 1 : 1 + draw.Below(8);
  s.queries = 1 + draw.Below(kAttentionRows / s.heads);
  s.first_position = draw.Below(4) == 0 ? 0 : draw.Below(400);
  s.window = draw.Below(2) == 0 ? 0 : 1 + draw.Below(200);
  s.written = s.first_position + s.queries + draw.Below(3) * draw.Below(70);  // a chunk writes later keys too
  return s;
}

using AttentionTest = VariantTest;

TEST_P(AttentionTest, EqualsTwin) {
  Draw draw(11);
  for (int i = 0; i < 120; ++i) {
    const Shape s = Random(draw);
    const History h(s, static_cast<uint64_t>(i));
    if (s.written * s.d > 1000) ExpectSpread(h.k);
    for (int kind = 0; kind < kAttentionKinds; ++kind) {
      Cache cache(table().attention[kind], s, h), twin_cache(twin().attention[kind], s, h);
      const int64_t end = s.first_position + s.queries;
      const State got = Split(table().attention[kind], s, h, cache, 0, end);
      const State expected = Split(twin().attention[kind], s, h, twin_cache, 0, end);
      const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
        return SameBits(x.data(), y.data(), static_cast<int64_t>(x.size()));
      };
      ASSERT_TRUE(same(got.max, expected.max)) << Name(s) << " kind " << kind;
      ASSERT_TRUE(same(got.sum, expected.sum)) << Name(s) << " kind " << kind;
      ASSERT_TRUE(same(got.acc, expected.acc)) << Name(s) << " kind " << kind;
    }
  }
}

// The sign of a zero maximum, of zero accumulators, and scores that are all equal.
TEST_P(AttentionTest, EqualsTwinOnZeros) {
  Shape s;
  s.queries = 9;
  s.heads = 7;
  s.first_position = 60;
  s.written = 69;
  for (int variant = 0; variant < 8; ++variant) {
    History h(s, 5);
    for (float& x : h.q) x = (variant & 1) != 0 ? 0.0f : -0.0f;
    for (size_t i = 0; i < h.k.size(); ++i) h.k[i] = (variant & 2) != 0 && i % 128 < 64 ? -1.0f : 1.0f;
    if ((variant & 4) != 0)
      for (size_t i = 0; i < h.v.size(); ++i) h.v[i] = -0.0f;
    for (int kind = 0; kind < kAttentionKinds; ++kind) {
      Cache cache(table().attention[kind], s, h), twin_cache(twin().attention[kind], s, h);
      const State got = Split(table().attention[kind], s, h, cache, 0, 69);
      const State expected = Split(twin().attention[kind], s, h, twin_cache, 0, 69);
      ASSERT_TRUE(SameBits(got.max.data(), expected.max.data(), 63));
      ASSERT_TRUE(SameBits(got.sum.data(), expected.sum.data(), 63));
      ASSERT_TRUE(SameBits(got.acc.data(), expected.acc.data(), static_cast<int64_t>(got.acc.size())));
    }
  }
}

TEST_P(AttentionTest, QueryAloneEqualsQueryInTile) {
  Draw draw(12);
  for (int i = 0; i < 25; ++i) {
    const Shape s = Random(draw);
    const History h(s, static_cast<uint64_t>(500 + i));
    for (int kind = 0; kind < kAttentionKinds; ++kind) {
      Cache cache(table().attention[kind], s, h);
      const std::vector<float> tile = Attend(table(), kind, s, h, cache);
      for (int64_t query = 0; query < s.queries; ++query) {
        Shape one = s;
        one.queries = 1;
        one.first_position += query;
        History alone = h;
        const int64_t width = s.heads * s.d;
        alone.q.assign(h.q.begin() + query * width, h.q.begin() + (query + 1) * width);
        const std::vector<float> row = Attend(table(), kind, one, alone, cache);
        ASSERT_TRUE(SameBits(row.data(), tile.data() + query * width, width))
            << Name(s) << " query " << query;
      }
    }
  }
}

// A block that no row sees may be absent: windows and the blocks past the last key.
TEST_P(AttentionTest, BlocksOutOfSightAreNeverRead) {
  Draw draw(13);
  for (int i = 0; i < 25; ++i) {
    Shape s = Random(draw);
    s.window = 1 + draw.Below(40);
    const History h(s, static_cast<uint64_t>(900 + i));
    for (int kind = 0; kind < kAttentionKinds; ++kind) {
      Cache cache(table().attention[kind], s, h);
      const std::vector<float> expected = Attend(table(), kind, s, h, cache);
      for (int64_t b = 0; b < cache.blocks(); ++b) {
        bool seen = false;
        for (int64_t j = b * kKeyBlock; j < (b + 1) * kKeyBlock; ++j)
          for (int64_t q = 0; q < s.queries; ++q) seen = seen || Sees(s, q, j);
        if (!seen) cache.pointers()[static_cast<size_t>(b)] = nullptr;
      }
      const std::vector<float> got = Attend(table(), kind, s, h, cache);
      ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(got.size()))) << Name(s);
    }
  }
}

// A row without a visible key in a split leaves it empty, whatever the other rows of its tile do.
TEST_P(AttentionTest, RowThatSeesNothingIsEmpty) {
  Shape s;
  s.queries = 12;
  s.heads = 3;
  s.window = 8;
  s.first_position = 60;  // queries 12 and later see only keys past 64
  s.written = 72;
  const History h(s, 3);
  for (int kind = 0; kind < kAttentionKinds; ++kind) {
    Cache cache(table().attention[kind], s, h);
    const State state = Split(table().attention[kind], s, h, cache, 0, 64);
    for (int64_t q = 0; q < s.queries; ++q) {
      for (int64_t head = 0; head < s.heads; ++head) {
        const size_t r = static_cast<size_t>(q * s.heads + head);
        const bool empty = q >= 11;  // position 71 sees 64..71
        EXPECT_EQ(state.max[r] == -INFINITY, empty) << q;
        EXPECT_EQ(state.sum[r] == 0.0f, empty) << q;
        if (!empty) continue;
        for (int64_t i = 0; i < state.stride; ++i)
          EXPECT_EQ(BitsOf(state.acc[r * static_cast<size_t>(state.stride) + static_cast<size_t>(i)]), 0u);
      }
    }
  }
}

void ExpectNearOracle(const Table& table, const Shape& s, uint64_t seed) {
  const History h(s, seed);
  for (int kind = 0; kind < kAttentionKinds; ++kind) {
    Cache cache(table.attention[kind], s, h);
    const std::vector<float> got = Attend(table, kind, s, h, cache);
    const auto kept = [&](float x) {
      return static_cast<double>(kind == kAttentionBf16 ? Bf16(ToBf16(x)) : x);
    };
    const double scale = 1.0 / std::sqrt(static_cast<double>(s.d));
    // p rounds to 8 bits in the bf16 kind; scores carry the roundings of fp32 in both.
    const double bound = kind == kAttentionBf16 ? 0x1p-7 : 2e-5;
    for (int64_t row = 0; row < s.queries * s.heads; ++row) {
      std::vector<double> score;
      std::vector<int64_t> keys;
      for (int64_t j = 0; j < s.written; ++j) {
        if (!Sees(s, row / s.heads, j)) continue;
        double dot = 0;
        for (int64_t i = 0; i < s.d; ++i)
          dot += kept(h.q[static_cast<size_t>(row * s.d + i)]) * kept(h.k[static_cast<size_t>(j * s.d + i)]);
        score.push_back(dot * scale);
        keys.push_back(j);
      }
      const double top = *std::max_element(score.begin(), score.end());
      double sum = 0;
      for (double& x : score) sum += x = std::exp(x - top);
      for (int64_t i = 0; i < s.d; ++i) {
        double y = 0, magnitude = 0;
        for (size_t j = 0; j < keys.size(); ++j) {
          const double term = score[j] / sum * kept(h.v[static_cast<size_t>(keys[j] * s.d + i)]);
          y += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(static_cast<double>(got[static_cast<size_t>(row * s.d + i)]), y, bound * magnitude)
            << Name(s);
      }
    }
  }
}

TEST_P(AttentionTest, NearDoubleOracle) {
  Draw draw(14);
  for (int i = 0; i < 30; ++i) ExpectNearOracle(table(), Random(draw), static_cast<uint64_t>(i));
}

// Two splits, merged; with a window that ends inside the second, the first is empty for some rows.
TEST_P(AttentionTest, NearDoubleOracleAcrossSplits) {
  for (const int64_t window : {0, 100, 2060}) {
    Shape s;
    s.d = 32;
    s.queries = 9;
    s.heads = 2;
    s.window = window;
    s.first_position = 2 * kSplitKeys - 4;
    s.written = s.first_position + s.queries;
    ExpectNearOracle(table(), s, 21);
  }
}

TEST_P(AttentionTest, MergeEqualsTwinAndSkipsEmptyParts) {
  Draw draw(15);
  for (const int64_t d : {1, 16, 40, 64, 256}) {
    const int64_t rows = 12, stride = (d + 31) / 32 * 32;
    std::vector<float> max = draw.Normals(rows, 4.0f), sum = draw.Normals(rows),
                       acc = draw.Normals(rows * stride);
    std::vector<float> max2 = draw.Normals(rows, 4.0f), sum2 = draw.Normals(rows),
                       acc2 = draw.Normals(rows * stride);
    for (size_t r = 0; r < 12; ++r) {
      sum[r] = r % 3 == 0 ? 0.0f : std::fabs(sum[r]) + 0.5f;
      sum2[r] = r % 4 == 0 ? 0.0f : std::fabs(sum2[r]) + 0.5f;
      if (sum[r] == 0.0f) max[r] = -INFINITY;
      if (sum2[r] == 0.0f) max2[r] = -INFINITY;
    }
    std::vector<float> m = max, t = sum, a = acc;
    table().attention_merge(rows, d, stride, m.data(), t.data(), a.data(), max2.data(), sum2.data(),
                            acc2.data());
    std::vector<float> m2 = max, t2 = sum, a2 = acc;
    twin().attention_merge(rows, d, stride, m2.data(), t2.data(), a2.data(), max2.data(), sum2.data(),
                           acc2.data());
    ASSERT_TRUE(SameBits(m.data(), m2.data(), rows));
    ASSERT_TRUE(SameBits(t.data(), t2.data(), rows));
    ASSERT_TRUE(SameBits(a.data(), a2.data(), rows * stride));
    for (size_t r = 0; r < 12; r += 4) {
      ASSERT_EQ(memcmp(&a[r * static_cast<size_t>(stride)], &acc[r * static_cast<size_t>(stride)],
                       static_cast<size_t>(stride) * 4),
                0);
    }
    for (float& x : t2) x = std::fabs(x) + 1.0f;
    std::vector<float> out(static_cast<size_t>(rows * d), 5.0f), out2 = out;
    table().attention_finish(4, 3, d, stride, t2.data(), a2.data(), out.data(), 3 * d);
    twin().attention_finish(4, 3, d, stride, t2.data(), a2.data(), out2.data(), 3 * d);
    ASSERT_TRUE(SameBits(out.data(), out2.data(), rows * d));
  }
}

TEST_P(AttentionTest, ReadGivesBackWhatWasWrittenAndClearForgets) {
  for (const int64_t d : {8, 48, 64, 80, 128, 256}) {
    Shape s;
    s.d = d;
    s.written = kKeyBlock;
    const History h(s, 4);
    for (int kind = 0; kind < kAttentionKinds; ++kind) {
      const AttentionOps& ops = table().attention[kind];
      ASSERT_EQ(ops.block_bytes(d) % 64, 0u);
      Cache cache(ops, s, h);
      std::vector<float> k(static_cast<size_t>(d)), v = k;
      for (const int64_t cleared : {int64_t{64}, int64_t{37}, int64_t{0}}) {
        ops.clear_from(cache.Block(0), cleared, d);
        for (int64_t slot = 0; slot < kKeyBlock; ++slot) {
          ops.read(cache.Block(0), slot, d, k.data(), v.data());
          for (int64_t i = 0; i < d; ++i) {
            const auto kept = [&](float x) {
              return slot >= cleared ? 0.0f : kind == kAttentionBf16 ? Bf16(ToBf16(x)) : x;
            };
            ASSERT_EQ(k[static_cast<size_t>(i)], kept(h.k[static_cast<size_t>(slot * d + i)]));
            ASSERT_EQ(v[static_cast<size_t>(i)], kept(h.v[static_cast<size_t>(slot * d + i)]));
          }
        }
      }
      const std::vector<char> zero(ops.block_bytes(d));
      ASSERT_EQ(memcmp(cache.Block(0), zero.data(), zero.size()), 0) << "cleared is as if never written";
    }
  }
}

// Scores that flush to zeros of both signs under the mode of R13: the maximum is the first of them.
TEST_P(AttentionTest, EqualsTwinOnFlushedScores) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Draw draw(seed);
    Shape s;
    s.heads = 5;
    s.first_position = draw.Below(120);
    s.written = s.first_position + 1;
    History h(s, seed);
    for (size_t i = 0; i < h.q.size(); ++i) h.q[i] = i % 64 == 0 ? 0x1p-126f : 0.0f;
    bool signs[2] = {false, false};
    for (float& x : h.k) {
      x = draw.Below(4) == 0 ? 1.0f : -1.0f;
      signs[x > 0] = true;
    }
    ASSERT_TRUE(signs[0] && signs[1]);
    for (int kind = 0; kind < kAttentionKinds; ++kind) {
      Cache cache(table().attention[kind], s, h), twin_cache(twin().attention[kind], s, h);
      const State got = Split(table().attention[kind], s, h, cache, 0, s.written);
      const State expected = Split(twin().attention[kind], s, h, twin_cache, 0, s.written);
      ASSERT_EQ(expected.max[0], 0.0f);
      ASSERT_TRUE(SameBits(got.max.data(), expected.max.data(), 5)) << "seed " << seed << " kind " << kind;
      ASSERT_TRUE(SameBits(got.acc.data(), expected.acc.data(), static_cast<int64_t>(got.acc.size())));
    }
  }
}

// A row's accumulator holds -0; a block that only later rows of its tile see must not make it +0.
TEST_P(AttentionTest, UnseenBlockLeavesNegativeZeros) {
  Shape s;
  s.queries = 12;
  s.first_position = 57;
  s.written = 69;
  History h(s, 6);
  for (size_t i = 0; i < h.v.size(); ++i) h.v[i] = i < 64 ? -0x1p-126f : i < 64 * 64 ? -0.0f : 1.0f;
  for (size_t i = 0; i < h.q.size(); ++i) h.q[i] = 0.25f;
  for (size_t i = 0; i < h.k.size(); ++i) h.k[i] = i < 64 ? 0.0f : 1.0f;
  for (int kind = 0; kind < kAttentionKinds; ++kind) {
    Cache cache(table().attention[kind], s, h), twin_cache(twin().attention[kind], s, h);
    const State got = Split(table().attention[kind], s, h, cache, 0, 69);
    const State expected = Split(twin().attention[kind], s, h, twin_cache, 0, 69);
    // Products of bf16 may start from +0 in each K-block; those of fp32 do not.
    if (kind == kAttentionF32) {
      ASSERT_EQ(BitsOf(expected.acc[0]), 0x80000000u) << "the input no longer makes a -0";
    }
    ASSERT_TRUE(SameBits(got.acc.data(), expected.acc.data(), static_cast<int64_t>(got.acc.size()))) << kind;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, AttentionTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
