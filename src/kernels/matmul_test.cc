// Matrix products: every variant against its twin by memcmp, a row alone against the row in a batch, and all
// of them against a double-precision oracle.
#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

constexpr const char* kKindNames[kMatrixKinds] = {"bf16 x bf16", "bf16 x fp32", "f16 x fp32", "fp32 x fp32"};

// f16 bits of a float that f16 can hold (11 bits of mantissa, moderate exponent), by truncation.
uint16_t ToF16(float value) {
  const uint32_t bits = BitsOf(value), sign = bits >> 16 & 0x8000u;
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - 112;
  if (exponent <= 0) return static_cast<uint16_t>(sign);
  return static_cast<uint16_t>(sign | static_cast<uint32_t>(exponent) << 10 | (bits >> 13 & 0x3ff));
}
float F16(uint16_t h) {
  const float magnitude = std::ldexp(static_cast<float>(1024 + (h & 0x3ff)), (h >> 10 & 31) - 25);
  const float value = (h >> 10 & 31) == 0 ? std::ldexp(static_cast<float>(h & 0x3ff), -24) : magnitude;
  return (h & 0x8000) != 0 ? -value : value;
}

struct Case {
  MatrixKind kind = kBf16Bf16;
  int64_t m = 1, k = 64, slices = 1, n = 64;  // n: outputs, the last panel may be short
  Epilogue epilogue = kStore;
  bool bias = true;
};

// The operands, once, in the row-major forms that both tables pack.
struct Operands {
  std::vector<float> x, bias, out;
  std::vector<uint16_t> weight16;
  std::vector<float> weight32;
  int64_t stride;

  Operands(const Case& c, uint64_t seed) {
    Draw draw(seed);
    stride = (c.k + 31) / 32 * 32;
    x.assign(static_cast<size_t>(c.m * stride), 0.0f);
    for (int64_t r = 0; r < c.m; ++r)
      for (int64_t i = 0; i < c.k; ++i) x[static_cast<size_t>(r * stride + i)] = draw.Normal();
    weight32 = draw.Normals(c.n * c.k, 0.25f);
    for (const float w : weight32) weight16.push_back(c.kind == kF16F32 ? ToF16(w) : ToBf16(w));
    if (c.kind == kF16F32) weight16[0] = 0x8003;  // a subnormal
    const int64_t columns = (c.n + 31) / 32 * 32;
    bias = draw.Normals(columns);
    out = draw.Normals(c.m * columns);
  }
  const void* Weight(const Case& c, int64_t row) const {
    return c.kind == kF32F32 ? static_cast<const void*>(weight32.data() + row * c.k)
                             : static_cast<const void*>(weight16.data() + row * c.k);
  }
  double W(const Case& c, int64_t row, int64_t i) const {
    const size_t at = static_cast<size_t>(row * c.k + i);
    if (c.kind == kF32F32) return static_cast<double>(weight32[at]);
    return static_cast<double>(c.kind == kF16F32 ? F16(weight16[at]) : Bf16(weight16[at]));
  }
  double X(const Case& c, int64_t row, int64_t i) const {
    const float value = x[static_cast<size_t>(row * stride + i)];
    return static_cast<double>(c.kind == kBf16Bf16 ? Bf16(ToBf16(value)) : value);
  }
};

struct Cut {
  int64_t group_step = 1 << 20, panel_step = 1 << 20;  // groups and panels a call
};

std::vector<float> Multiply(const MatrixOps& ops, const Case& c, const Operands& in, Cut cut = {}) {
  const size_t row_bytes = static_cast<size_t>(c.k) * (c.kind == kF32F32 ? 4 : 2);
  const size_t panel_bytes = ops.panel_bytes(c.k, c.slices);
  const int64_t panels = (c.n + 31) / 32, groups = (c.m + ops.rows_per_group - 1) / ops.rows_per_group;
  Bytes weight(panel_bytes * static_cast<size_t>(panels)), rows(ops.rows_bytes(c.m, c.k, c.slices)),
      scratch(kScratchBytes);
  memset(scratch.data(), 0xff, kScratchBytes);
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t count = c.n - 32 * p < 32 ? c.n - 32 * p : 32;
    EXPECT_TRUE(ops.pack_weight(in.Weight(c, 32 * p), row_bytes, count, c.k, c.slices,
                                static_cast<char*>(weight.data()) + panel_bytes * static_cast<size_t>(p)));
  }
  std::vector<float> out = in.out;
  const int64_t out_stride = panels * 32;
  for (int64_t g = 0; g < groups; g += cut.group_step) {
    const int64_t g_end = g + cut.group_step < groups ? g + cut.group_step : groups;
    ops.pack_rows(in.x.data(), in.stride, c.m, c.k, c.slices, g, g_end, rows.data());
    for (int64_t p = 0; p < panels; p += cut.panel_step) {
      const int64_t p_end = p + cut.panel_step < panels ? p + cut.panel_step : panels;
      const MatmulArgs args = {rows.data(),
                               c.m,
                               g,
                               g_end,
                               weight.data(),
                               c.k,
                               c.slices,
                               p,
                               p_end,
                               c.epilogue,
                               c.bias ? in.bias.data() : nullptr,
                               out.data(),
                               out_stride,
                               scratch.data()};
      ops.matmul(&args);
    }
  }
  return out;
}

std::string Name(const Case& c) {
  return std::string(kKindNames[c.kind]) + " m " + std::to_string(c.m) + " k " + std::to_string(c.k) + " n " +
         std::to_string(c.n) + " slices " + std::to_string(c.slices) + " epilogue " +
         std::to_string(c.epilogue);
}

using MatmulTest = VariantTest;

TEST_P(MatmulTest, EqualsTwinAtEveryRowCount) {
  constexpr int64_t kLengths[] = {1, 7, 31, 64, 90, 257};
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    for (int64_t m = 1; m <= 40; ++m) {
      Case c;
      c.kind = static_cast<MatrixKind>(kind);
      c.m = m;
      c.k = kLengths[m % 6];
      c.epilogue = static_cast<Epilogue>(m % 3);
      c.n = c.epilogue == kSiluMul ? 128 : 32 * (m % 4) + 17;
      c.bias = m % 5 != 0;
      const Operands in(c, static_cast<uint64_t>(100 * m + kind));
      ExpectSpread(in.weight32);
      const std::vector<float> got = Multiply(table().matrix[kind], c, in),
                               expected = Multiply(twin().matrix[kind], c, in);
      ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(got.size()))) << Name(c);
    }
  }
}

TEST_P(MatmulTest, EqualsTwinAtEverySliceCount) {
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    for (const int64_t slices : {1, 2, 3, 4, 5, 6, 7, 8}) {
      for (const int64_t m : {1, 2, 5, 19, 40}) {
        for (const int64_t slice_k : {1, 33, 290}) {
          Case c;
          c.kind = static_cast<MatrixKind>(kind);
          c.m = m;
          c.slices = slices;
          c.k = slices * slice_k;
          c.epilogue = static_cast<Epilogue>((m + slices) % 3);
          c.n = c.epilogue == kSiluMul ? 64 : 96;
          if (slice_k == 290 && m > 5 && slices != 3 && slices != 8) continue;  // the twin is slow
          const Operands in(c, static_cast<uint64_t>(1000 * slices + m));
          const std::vector<float> got = Multiply(table().matrix[kind], c, in),
                                   expected = Multiply(twin().matrix[kind], c, in);
          ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(got.size()))) << Name(c);
        }
      }
    }
  }
}

// Many rows: more than one block of them, and widened cuts.
TEST_P(MatmulTest, EqualsTwinWithManyRows) {
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    Case c;
    c.kind = static_cast<MatrixKind>(kind);
    c.m = 391;
    c.k = 522;
    c.slices = 2;
    c.n = 64;
    c.epilogue = kSiluMul;
    const Operands in(c, 77);
    const std::vector<float> got = Multiply(table().matrix[kind], c, in),
                             expected = Multiply(twin().matrix[kind], c, in);
    ASSERT_TRUE(SameBits(got.data(), expected.data(), static_cast<int64_t>(got.size()))) << Name(c);
  }
}

// R1: a row's bits do not depend on the other rows, nor on how the work is cut.
TEST_P(MatmulTest, RowAloneEqualsRowInBatch) {
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    Case c;
    c.kind = static_cast<MatrixKind>(kind);
    c.m = 29;
    c.k = 330;
    c.slices = 3;
    c.n = 192;
    for (const Epilogue epilogue : {kStore, kSiluMul}) {
      c.epilogue = epilogue;
      const Operands in(c, 5);
      const std::vector<float> batch = Multiply(table().matrix[kind], c, in);
      Cut cut;
      cut.group_step = 1;
      cut.panel_step = 2;
      const std::vector<float> pieces = Multiply(table().matrix[kind], c, in, cut);
      ASSERT_TRUE(SameBits(pieces.data(), batch.data(), static_cast<int64_t>(batch.size()))) << Name(c);
      Case one = c;
      one.m = 1;
      for (int64_t r = 0; r < c.m; ++r) {
        Operands alone = in;
        alone.x.assign(in.x.begin() + r * in.stride, in.x.begin() + (r + 1) * in.stride);
        alone.out.assign(in.out.begin() + r * c.n, in.out.begin() + (r + 1) * c.n);
        const std::vector<float> row = Multiply(table().matrix[kind], one, alone);
        ASSERT_TRUE(SameBits(row.data(), batch.data() + r * c.n, epilogue == kSiluMul ? c.n / 2 : c.n))
            << Name(c) << " row " << r;
      }
    }
  }
}

// |error| <= (k + 4) * 2^-24 * sum |products|: the worst of k roundings.
TEST_P(MatmulTest, NearDoubleOracle) {
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    Case c;
    c.kind = static_cast<MatrixKind>(kind);
    c.m = 8;
    c.k = 480;
    c.slices = 2;
    c.n = 96;
    const Operands in(c, 31);
    const std::vector<float> got = Multiply(table().matrix[kind], c, in);
    for (int64_t r = 0; r < c.m; ++r) {
      for (int64_t j = 0; j < c.n; ++j) {
        double sum = static_cast<double>(in.bias[static_cast<size_t>(j)]), magnitude = std::fabs(sum);
        for (int64_t i = 0; i < c.k; ++i) {
          const double product = in.X(c, r, i) * in.W(c, j, i);
          sum += product;
          magnitude += std::fabs(product);
        }
        const double bound = static_cast<double>(c.k + 4) * 0x1p-24 * magnitude;
        ASSERT_NEAR(static_cast<double>(got[static_cast<size_t>(r * c.n + j)]), sum, bound) << Name(c);
      }
    }
  }
}

TEST_P(MatmulTest, UnpackGivesBackThePackedRow) {
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    for (const int64_t count : {32, 19}) {
      Case c;
      c.kind = static_cast<MatrixKind>(kind);
      c.k = 3 * 45;
      c.slices = 3;
      c.n = count;
      const Operands in(c, 8);
      const MatrixOps& ops = table().matrix[kind];
      Bytes panel(ops.panel_bytes(c.k, c.slices));
      memset(panel.data(), 0xff, panel.size());
      ASSERT_TRUE(ops.pack_weight(in.Weight(c, 0), static_cast<size_t>(c.k) * (c.kind == kF32F32 ? 4 : 2),
                                  count, c.k, c.slices, panel.data()));
      std::vector<float> row(static_cast<size_t>(c.k));
      for (int64_t r = 0; r < 32; ++r) {
        ops.unpack_row(panel.data(), r, c.k, c.slices, row.data());
        for (int64_t i = 0; i < c.k; ++i) {
          ASSERT_EQ(static_cast<double>(row[static_cast<size_t>(i)]), r < count ? in.W(c, r, i) : 0.0)
              << Name(c) << " row " << r << " k " << i;
        }
      }
    }
  }
}

// R11: one NaN or infinity anywhere in a weight is found while packing.
TEST_P(MatmulTest, PackingFindsWhatIsNotFinite) {
  constexpr uint16_t kBad16[2][3] = {{0x7f80, 0xff80, 0x7fc1}, {0x7c00, 0xfc00, 0x7e01}};
  constexpr uint32_t kBad32[3] = {0x7f800000, 0xff800000, 0x7fc00001};
  for (int kind = 0; kind < kMatrixKinds; ++kind) {
    for (const int64_t count : {32, 5}) {
      Case c;
      c.kind = static_cast<MatrixKind>(kind);
      c.k = 43;
      c.n = count;
      Operands in(c, 9);
      const MatrixOps& ops = table().matrix[kind];
      Bytes panel(ops.panel_bytes(c.k, 1));
      for (int64_t at = 0; at < count * c.k; at += count == 32 ? 1 : 7) {
        const size_t i = static_cast<size_t>(at);
        const uint16_t was16 = in.weight16[i];
        const float was32 = in.weight32[i];
        in.weight16[i] = kBad16[c.kind == kF16F32][at % 3];
        in.weight32[i] = OfBits(kBad32[at % 3]);
        ASSERT_FALSE(ops.pack_weight(in.Weight(c, 0), static_cast<size_t>(c.k) * (c.kind == kF32F32 ? 4 : 2),
                                     count, c.k, 1, panel.data()))
            << Name(c) << " element " << at;
        in.weight16[i] = was16;
        in.weight32[i] = was32;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, MatmulTest, testing::ValuesIn(TestedVariants()),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace fusiontree::kernels
