#include "tensor/dequantise.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace fusiontree::tensor {
namespace {

std::vector<char> ReadGolden(const std::string& name) {
  std::ifstream file(std::string(FUSIONTREE_TESTDATA "/dequantise/") + name, std::ios::binary);
  return std::vector<char>(std::istreambuf_iterator<char>(file), {});
}

class QuantisedType : public testing::TestWithParam<DType> {};

TEST_P(QuantisedType, EqualsTheReferenceBitForBit) {
  const DTypeInfo& info = Info(GetParam());
  const std::vector<char> blocks = ReadGolden(std::string(info.name) + ".blocks");
  const std::vector<char> expected = ReadGolden(std::string(info.name) + ".f32");
  const size_t elements = expected.size() / sizeof(float);
  ASSERT_GE(elements, 2048u);
  ASSERT_EQ(blocks.size(), BytesFor(GetParam(), elements));
  std::vector<float> actual(elements);
  ToFloat(GetParam(), blocks.data(), elements, actual.data());
  std::set<uint32_t> distinct;
  for (size_t i = 0; i < elements; ++i) {
    uint32_t bits;
    std::memcpy(&bits, expected.data() + i * sizeof bits, sizeof bits);
    ASSERT_EQ(std::bit_cast<uint32_t>(actual[i]), bits) << info.name << " element " << i;
    distinct.insert(bits);
  }
  EXPECT_GT(distinct.size(), elements / 8);  // the golden values are spread, not all alike

  // Any run of blocks at any (odd) address gives the same values.
  for (size_t first : {size_t{0}, size_t{1}, elements / info.block - 2}) {
    std::vector<char> shifted(2 * info.bytes + 1);
    std::memcpy(shifted.data() + 1, blocks.data() + first * info.bytes, 2 * info.bytes);
    std::vector<float> part(2 * info.block);
    ToFloat(GetParam(), shifted.data() + 1, part.size(), part.data());
    EXPECT_EQ(std::memcmp(part.data(), actual.data() + first * info.block, part.size() * sizeof(float)), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, QuantisedType,
                         testing::Values(DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                         DType::kQ4_K, DType::kQ5_K, DType::kQ6_K),
                         [](const auto& param_info) { return std::string(Info(param_info.param).name); });

TEST(ToFloat, PlainTypesOfEveryLengthAndValue) {
  std::vector<uint16_t> halves(0x10000);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> wide(halves.size());
  ToFloat(DType::kF16, halves.data(), halves.size(), wide.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(F16ToFloat(halves[i]))) << i;
  }
  ToFloat(DType::kBF16, halves.data(), halves.size(), wide.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), static_cast<uint32_t>(i) << 16);
  }
  // Loader threads run with flush-to-zero and denormals-are-zero (rule R13); the bits stay.
  const uint32_t saved = _mm_getcsr();
  _mm_setcsr(0x9FC0);
  std::vector<float> flushed(halves.size());
  ToFloat(DType::kF16, halves.data(), halves.size(), flushed.data());
  _mm_setcsr(saved);
  for (size_t i = 0; i < halves.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(flushed[i]), std::bit_cast<uint32_t>(F16ToFloat(halves[i]))) << i;
  }
  for (size_t length = 0; length < 200; ++length) {
    std::vector<float> out(length + 1, -7.0f);
    ToFloat(DType::kF16, halves.data() + 0x3c00, length, out.data());
    for (size_t i = 0; i < length; ++i) ASSERT_EQ(out[i], F16ToFloat(static_cast<uint16_t>(0x3c00 + i)));
    ASSERT_EQ(out[length], -7.0f);  // nothing past the end
  }
  const float floats[3] = {1.5f, -0.0f, 1e-40f};
  float copy[3];
  ToFloat(DType::kF32, floats, 3, copy);
  EXPECT_EQ(std::memcmp(floats, copy, sizeof floats), 0);
}

}  // namespace
}  // namespace fusiontree::tensor
