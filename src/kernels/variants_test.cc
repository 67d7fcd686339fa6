#include "kernels/variants.h"

#include "kernels/cpu.h"
#include "kernels/kernels_testing.h"

namespace fusiontree::kernels {
namespace {

TEST(Variants, AreListedSlowestFirstAndFoundByName) {
  const std::vector<std::string> expected = {"ref", "avx2", "avx512", "avx512bf16", "amx"};
  ASSERT_EQ(Variants().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Variant& v = Variants()[i];
    EXPECT_EQ(v.name, expected[i]);
    EXPECT_EQ(Find(v.name), &v);
    EXPECT_EQ(Supported(v.name), v.missing.empty());
    EXPECT_EQ(v.table != nullptr, v.missing.empty());
    EXPECT_STREQ(v.table == nullptr ? v.name : v.table->name, v.name);
  }
  EXPECT_EQ(Find("sse9"), nullptr);
  EXPECT_FALSE(Supported("sse9"));
  EXPECT_TRUE(Supported("ref"));
  EXPECT_TRUE(Best().missing.empty());
}

// A processor that has a variant must get it: its self-check may not refuse a correct table.
TEST(Variants, WhatTheProcessorHasIsThere) {
  const Cpu& cpu = ThisCpu();
  EXPECT_EQ(Supported("avx2"), cpu.avx2);
  EXPECT_EQ(Supported("avx512"), cpu.avx512 && Avx512Table() != nullptr);
  EXPECT_EQ(Supported("avx512bf16"), cpu.avx512bf16 && Avx512Bf16Table() != nullptr);
  EXPECT_EQ(Supported("amx"), cpu.amx && AmxTable() != nullptr);
}

// Tables that are wrong in one way each.
void LastBit(const MatmulArgs* args) {
  RefTable()->matrix[kBf16Bf16].matmul(args);
  const float y = args->out[args->out_stride * (args->m - 1)];
  args->out[args->out_stride * (args->m - 1)] = OfBits(BitsOf(y) ^ 1u);
}
void OddsFirst(const MatmulArgs* args) { RefAvx512Bf16Table()->matrix[kBf16Bf16].matmul(args); }

TEST(SelfCheck, PassesTheTwinAndRefusesOneWrongBit) {
  EXPECT_EQ(SelfCheck(*RefTable(), *RefTable()), "");
  EXPECT_EQ(SelfCheck(*RefAmxTable(), *RefAmxTable()), "");
  Table wrong = *RefTable();
  wrong.matrix[kBf16Bf16].matmul = LastBit;
  EXPECT_NE(SelfCheck(wrong, *RefTable()).find("product bf16 x bf16, m 1, k 90, output 0"), std::string::npos)
      << SelfCheck(wrong, *RefTable());
  wrong = *RefTable();
  wrong.matrix[kBf16Bf16] = RefAvx512Bf16Table()->matrix[kBf16Bf16];
  wrong.matrix[kBf16Bf16].matmul = OddsFirst;
  EXPECT_NE(SelfCheck(wrong, *RefTable()), "") << "another variant's order of additions must be seen";
  EXPECT_NE(SelfCheck(*RefAmxTable(), *RefTable()), "");
}

}  // namespace
}  // namespace fusiontree::kernels
