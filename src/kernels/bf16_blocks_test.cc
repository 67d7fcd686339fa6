// The blocks of bf16_matmul.h: several cuts of k, blocks of rows and of panels, short last groups in both
// walking orders, the tree of slices across them. Held against the twin on rows that the twin can afford, and
// against the same rows alone.
#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

struct Shape {
  int64_t m, slice_k, slices, panels;
  Epilogue epilogue;
  bool bias;
};

struct Input {
  std::vector<uint16_t> weight;  // [32 * panels, k]
  std::vector<float> x, bias, out;
  int64_t k, stride, columns;

  Input(const Shape& s, uint64_t seed)
      : k(s.slice_k * s.slices), stride((k + 31) / 32 * 32), columns(32 * s.panels) {
    Draw draw(seed);
    for (int64_t i = 0; i < columns * k; ++i) weight.push_back(ToBf16(draw.Normal()));
    x = draw.Normals(s.m * stride);
    bias = draw.Normals(columns);
    out = draw.Normals(s.m * columns);
    ExpectSpread(x);
  }
};

// Rows [first, first + m) of the input through one call.
std::vector<float> Multiply(const MatrixOps& ops, const Shape& s, const Input& in, int64_t first, int64_t m) {
  const size_t panel_bytes = ops.panel_bytes(in.k, s.slices);
  Bytes weight(panel_bytes * static_cast<size_t>(s.panels)), rows(ops.rows_bytes(m, in.k, s.slices)),
      scratch(kScratchBytes);
  memset(scratch.data(), 0xff, kScratchBytes);
  for (int64_t p = 0; p < s.panels; ++p) {
    EXPECT_TRUE(ops.pack_weight(in.weight.data() + 32 * p * in.k, static_cast<size_t>(in.k) * 2, 32, in.k,
                                s.slices,
                                static_cast<char*>(weight.data()) + panel_bytes * static_cast<size_t>(p)));
  }
  const int64_t groups = (m + ops.rows_per_group - 1) / ops.rows_per_group;
  ops.pack_rows(in.x.data() + first * in.stride, in.stride, m, in.k, s.slices, 0, groups, rows.data());
  std::vector<float> out(in.out.begin() + first * in.columns, in.out.begin() + (first + m) * in.columns);
  const MatmulArgs args = {rows.data(),
                           m,
                           0,
                           groups,
                           weight.data(),
                           in.k,
                           s.slices,
                           0,
                           s.panels,
                           s.epilogue,
                           s.bias ? in.bias.data() : nullptr,
                           out.data(),
                           in.columns,
                           scratch.data()};
  ops.matmul(&args);
  return out;
}

using Bf16BlocksTest = VariantTest;

TEST_P(Bf16BlocksTest, EqualsTwinAndRowAlone) {
  constexpr Shape kShapes[] = {
      {33, 1100, 2, 7, kAdd, true},       // two cuts, a second block of one panel, a group of one row
      {45, 1057, 3, 4, kSiluMul, true},   // odd k, two tails
      {40, 2081, 1, 2, kSiluMul, false},  // three cuts, no tree
      {70, 129, 8, 14, kStore, true},     // four partial sums alive, three blocks of panels
      {26, 97, 6, 8, kSiluMul, true},     // odd group of three, twice
      {1, 1100, 2, 7, kStore, true},      // one row: streaming
      {12, 1030, 1, 4, kSiluMul, true},   //
      {1100, 40, 2, 6, kSiluMul, true},   // three blocks of rows
      {515, 64, 1, 13, kAdd, false},      // one cut: sums never leave the tile
  };
  uint64_t seed = 0;
  for (const Shape& s : kShapes) {
    const Input in(s, ++seed);
    const std::vector<float> got = Multiply(table().matrix[kBf16Bf16], s, in, 0, s.m);
    std::vector<int64_t> tried = {s.m - 1};
    for (int64_t r = 0; r<s.m; r += s.m> 100 ? 97 : s.m > 20 ? 5 : 1) tried.push_back(r);
    for (const int64_t r : tried) {
      const std::vector<float> twin_row = Multiply(twin().matrix[kBf16Bf16], s, in, r, 1);
      ASSERT_TRUE(SameBits(got.data() + r * in.columns, twin_row.data(), in.columns))
          << "shape " << seed << " row " << r;
      const std::vector<float> alone = Multiply(table().matrix[kBf16Bf16], s, in, r, 1);
      ASSERT_TRUE(SameBits(alone.data(), twin_row.data(), in.columns))
          << "shape " << seed << " row " << r << " alone";
    }
  }
}

// Groups and panels may be shared out to calls in any way.
TEST_P(Bf16BlocksTest, PiecesEqualTheWhole) {
  const Shape s = {77, 70, 2, 8, kSiluMul, true};
  const Input in(s, 50);
  const MatrixOps& ops = table().matrix[kBf16Bf16];
  const std::vector<float> whole = Multiply(ops, s, in, 0, s.m);
  const size_t panel_bytes = ops.panel_bytes(in.k, s.slices);
  Bytes weight(panel_bytes * 8), rows(ops.rows_bytes(s.m, in.k, s.slices)), scratch(kScratchBytes);
  for (int64_t p = 0; p < 8; ++p) {
    ops.pack_weight(in.weight.data() + 32 * p * in.k, static_cast<size_t>(in.k) * 2, 32, in.k, s.slices,
                    static_cast<char*>(weight.data()) + panel_bytes * static_cast<size_t>(p));
  }
  std::vector<float> out = in.out;
  const int64_t groups = (s.m + ops.rows_per_group - 1) / ops.rows_per_group;
  for (int64_t g = groups - 1; g >= 0; --g) {
    ops.pack_rows(in.x.data(), in.stride, s.m, in.k, s.slices, g, g + 1, rows.data());
    for (int64_t p = 0; p < 8; p += 2) {
      const MatmulArgs args = {rows.data(),    s.m,        g,          g + 1,         weight.data(),
                               in.k,           s.slices,   p,          p + 2,         s.epilogue,
                               in.bias.data(), out.data(), in.columns, scratch.data()};
      ops.matmul(&args);
    }
  }
  ASSERT_TRUE(SameBits(out.data(), whole.data(), static_cast<int64_t>(whole.size())));
}

// Inputs whose rounding to bf16 is delicate: ties, denormals that round up to the smallest normal; overflow
// (last row).
TEST_P(Bf16BlocksTest, RoundsInputsAsTheTwin) {
  const Shape s = {14, 48, 1, 1, kStore, false};
  Input in(s, 9);
  constexpr uint32_t kDelicate[] = {0x3f808000, 0x3f818000, 0x007fffff, 0x00008000, 0x80018000, 0x3f7fffff,
                                    0xbf818000, 0x00000001, 0x80000000, 0x3f807fff, 0x3f808001};
  for (size_t i = 0; i < in.x.size(); ++i)
    if (i % 2 == 0) in.x[i] = OfBits(kDelicate[i / 2 % 11]);
  in.x[static_cast<size_t>(13 * in.stride)] = OfBits(0x7f7f8000);
  const std::vector<float> got = Multiply(table().matrix[kBf16Bf16], s, in, 0, s.m),
                           expected = Multiply(twin().matrix[kBf16Bf16], s, in, 0, s.m);
  ASSERT_TRUE(std::isinf(expected[13 * 32]));
  ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(got.size())));
}

// Scores that scaling flushes to zeros of both signs: the maximum is the first of them.
TEST_P(Bf16BlocksTest, AttentionKeepsTheSignOfAFlushedMaximum) {
  constexpr int64_t kD = 64;
  for (uint64_t signs = 0; signs < 16; ++signs) {
    const auto split = [&](const Table& t) {
      const AttentionOps& ops = t.attention[kAttentionBf16];
      Bytes block(ops.block_bytes(kD)), scratch(kScratchBytes);
      std::vector<float> q(kD), k(kD), v(kD, 1.0f), result(2 + kD);
      q[0] = 0x1p-100f;
      for (int64_t j = 0; j < 40; ++j) {
        k[0] = (signs >> (j % 4) & 1) != 0 ? -0x1p-25f : 0x1p-25f;
        ops.write(block.data(), j, kD, k.data(), v.data());
      }
      const void* blocks[1] = {block.data()};
      AttentionArgs a = {};
      a.blocks = blocks;
      a.key_end = 40;
      a.q = q.data();
      a.q_stride = kD;
      a.queries = a.heads = 1;
      a.d = kD;
      a.first_position = 39;
      a.window = 39;  // key 0 is out of sight
      a.scale = 0.125f;
      a.max = result.data();
      a.sum = result.data() + 1;
      a.acc = result.data() + 2;
      a.acc_stride = kD;
      a.scratch = scratch.data();
      ops.split(&a);
      return result;
    };
    const std::vector<float> got = split(table()), expected = split(twin());
    ASSERT_EQ(expected[0], 0.0f);
    ASSERT_EQ(std::signbit(expected[0]), (signs >> 1 & 1) != 0);
    ASSERT_TRUE(SameBits(got.data(), expected.data(), 2 + kD)) << signs;
  }
}

// R4: a block in which a row sees nothing leaves a sum of -0 as it is; adding 0 * v would make it +0.
TEST_P(Bf16BlocksTest, AttentionLeavesARowThatSeesNothingAlone) {
  constexpr int64_t kD = 32;
  const auto split = [&](const Table& t) {
    const AttentionOps& ops = t.attention[kAttentionBf16];
    const size_t bytes = ops.block_bytes(kD);
    Bytes cache(2 * bytes), scratch(kScratchBytes);
    std::vector<float> q(2 * kD, 1.0f), k(kD), v(kD), result(2 * (2 + kD));
    for (int64_t j = 0; j < 66; ++j) {
      // Key 63 takes the maximum with a value of 0, the others a p below 1, which flushes their tiny values
      // to -0.
      k[0] = j == 63 ? 8.0f : 0.0f;
      for (float& x : v) x = j == 63 ? 0.0f : -0x1p-126f;
      ops.write(static_cast<char*>(cache.data()) + static_cast<size_t>(j / 64) * bytes, j % 64, kD, k.data(),
                v.data());
    }
    const void* blocks[2] = {cache.data(), static_cast<char*>(cache.data()) + bytes};
    AttentionArgs a = {};
    a.blocks = blocks;
    a.key_end = 65;
    a.q = q.data();
    a.q_stride = kD;
    a.queries = 2;
    a.heads = 1;
    a.d = kD;
    a.first_position = 63;  // query 0 sees no key of the second block
    a.scale = 1.0f;
    a.max = result.data();
    a.sum = result.data() + 2;
    a.acc = result.data() + 4;
    a.acc_stride = kD;
    a.scratch = scratch.data();
    ops.split(&a);
    return result;
  };
  const std::vector<float> got = split(table()), expected = split(twin());
  // amx adds its even and odd sums to +0 and cannot reach -0 here.
  ASSERT_EQ(std::signbit(expected[4]), table().matrix[kBf16Bf16].k_block == 2);
  ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(got.size())));
}

INSTANTIATE_TEST_SUITE_P(Variants, Bf16BlocksTest,
                         testing::Values("avx512bf16", "avx512bf16_emulated", "amx", "amx_emulated"),
                         [](const auto& variant) { return std::string(variant.param); });

}  // namespace
}  // namespace fusiontree::kernels
