#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace fusiontree::tensor {
namespace {

// The value of a finite half by the definition, without bit tricks.
double HalfByDefinition(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(F16, EveryValueWidensExactlyAndComesBack) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = F16ToFloat(static_cast<uint16_t>(half));
    if ((half & 0x7c00u) == 0x7c00u) {
      EXPECT_EQ((half & 0x3ffu) == 0, std::isinf(value)) << half;
      EXPECT_EQ((half & 0x3ffu) != 0, std::isnan(value)) << half;
      EXPECT_EQ(FloatToF16(value) & 0x7c00u, 0x7c00u);
      continue;
    }
    ASSERT_EQ(value, HalfByDefinition(static_cast<uint16_t>(half))) << half;
    ASSERT_EQ(std::signbit(value), (half & 0x8000u) != 0) << half;
    ASSERT_EQ(FloatToF16(value), half);
  }
}

TEST(F16, NarrowingRoundsToNearestEven) {
  for (uint16_t half = 0; half < 0x7bff; ++half) {
    const float low = F16ToFloat(half);
    const float high = F16ToFloat(static_cast<uint16_t>(half + 1));
    const float middle = low + (high - low) / 2;  // exact: 13 bits to spare
    ASSERT_EQ(FloatToF16(middle), (half & 1) != 0 ? half + 1 : half) << half;
    ASSERT_EQ(FloatToF16(std::nextafter(middle, low)), half) << half;
    ASSERT_EQ(FloatToF16(std::nextafter(middle, high)), half + 1) << half;
  }
  EXPECT_EQ(FloatToF16(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToF16(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(FloatToF16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Bf16, RoundTripsAndRoundsToNearestEven) {
  for (uint32_t value = 0; value < 0x10000; ++value) {
    const float wide = Bf16ToFloat(static_cast<uint16_t>(value));
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(wide))));
    } else {
      ASSERT_EQ(FloatToBf16(wide), value);
    }
  }
  const auto narrow = [](uint32_t bits) { return FloatToBf16(std::bit_cast<float>(bits)); };
  EXPECT_EQ(narrow(0x3f808000u), 0x3f80);  // tie to even, down
  EXPECT_EQ(narrow(0x3f818000u), 0x3f82);  // tie to even, up
  EXPECT_EQ(narrow(0x3f808001u), 0x3f81);
  EXPECT_EQ(narrow(0x7f7fffffu), 0x7f80);  // the largest float rounds to infinity
  EXPECT_TRUE(std::isnan(Bf16ToFloat(narrow(0x7f800001u))));
}

TEST(DType, SizesOfBlocks) {
  EXPECT_EQ(BytesFor(DType::kF32, 3), 12u);
  EXPECT_EQ(BytesFor(DType::kBool, 3), 3u);
  EXPECT_EQ(BytesFor(DType::kQ4_0, 64), 2 * (2 + 16u));
  EXPECT_EQ(BytesFor(DType::kQ4_1, 32), 2 + 2 + 16u);
  EXPECT_EQ(BytesFor(DType::kQ5_0, 32), 2 + 4 + 16u);
  EXPECT_EQ(BytesFor(DType::kQ5_1, 32), 2 + 2 + 4 + 16u);
  EXPECT_EQ(BytesFor(DType::kQ8_0, 32), 2 + 32u);
  EXPECT_EQ(BytesFor(DType::kQ4_K, 256), 2 + 2 + 12 + 128u);
  EXPECT_EQ(BytesFor(DType::kQ5_K, 256), 2 + 2 + 12 + 32 + 128u);
  EXPECT_EQ(BytesFor(DType::kQ6_K, 256), 128 + 64 + 16 + 2u);
  EXPECT_EQ(Info(DType::kQ6_K).name, "Q6_K");
  EXPECT_EQ(Info(DType::kBool).name, "BOOL");
}

}  // namespace
}  // namespace fusiontree::tensor
