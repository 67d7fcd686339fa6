// The emulation itself: the roundings in which VDPBF16PS and TDPBF16PS differ from their neighbours, what is
// flushed, what is masked, and what the processor would refuse.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "kernels/emulate_amx.h"

namespace {

constexpr float kUlp = 0x1p-23f;  // of 1
constexpr unsigned kDefaultMode = 0x1f80;

uint32_t Bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  EXPECT_EQ(bits & 0xffffu, 0u) << value << " is not a bf16";
  return bits >> 16;
}
uint32_t Pair(float even, float odd) { return Bf16(even) | Bf16(odd) << 16; }
float OfBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
uint32_t BitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

// acc + odd * 1, + even * 1.
float Dp(float acc, float even, float odd) {
  const __m512i a = _mm512_set1_epi32(static_cast<int32_t>(Pair(even, odd)));
  const __m512i one = _mm512_set1_epi32(static_cast<int32_t>(Pair(1.0f, 1.0f)));
  return _mm512_dpbf16_ps(_mm512_set1_ps(acc), a, one).f[5];
}

TEST(EmulatedDpbf16, AddsTheOddProductFirst) {
  // 1 + ulp/2 ties to 1, then 3/4 ulp rounds up; the other way round the tie would go up as well: 1 + 2 ulp.
  EXPECT_EQ(Dp(1.0f, 0.75f * kUlp, 0.5f * kUlp), 1.0f + kUlp);
  EXPECT_EQ(Dp(1.0f, 0.5f * kUlp, 0.75f * kUlp), 1.0f + 2 * kUlp);
}
TEST(EmulatedDpbf16, RoundsTwice) { EXPECT_EQ(Dp(1.0f, 0.5f * kUlp, 0.5f * kUlp), 1.0f); }
TEST(EmulatedDpbf16, DoesNotRoundProducts) {
  // (1 + 2^-7)^2 = 1 + 2^-6 + 2^-14 against -1: exact.
  const __m512i a = _mm512_set1_epi32(static_cast<int32_t>(Pair(1.0f + 0x1p-7f, 0.0f)));
  EXPECT_EQ(_mm512_dpbf16_ps(_mm512_set1_ps(-1.0f), a, a).f[0], 0x1p-6f + 0x1p-14f);
}

TEST(EmulatedDpbf16, FlushesDenormalsWhateverTheMode) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(kDefaultMode);
  const __m512i tiny = _mm512_set1_epi32(0x00000001);  // 2^-133
  const __m512i huge = _mm512_set1_epi32(static_cast<int32_t>(Pair(0x1p127f, 0.0f)));
  const __m512i small = _mm512_set1_epi32(static_cast<int32_t>(Pair(0x1p-64f, 0.0f)));
  const __m512 input = _mm512_dpbf16_ps(_mm512_setzero_ps(), tiny, huge);
  const __m512 output = _mm512_dpbf16_ps(_mm512_setzero_ps(), small, small);
  const __m512 sum =
      _mm512_dpbf16_ps(_mm512_set1_ps(OfBits(1)), _mm512_setzero_si512(), _mm512_setzero_si512());
  const __m512 fma = _mm512_fmadd_ps(_mm512_set1_ps(0x1p-64f), _mm512_set1_ps(0x1p-64f), _mm512_setzero_ps());
  const unsigned after = _mm_getcsr() & 0xffc0u;
  _mm_setcsr(saved);
  EXPECT_EQ(BitsOf(input.f[0]), 0u);
  EXPECT_EQ(BitsOf(output.f[0]), 0u);
  EXPECT_EQ(BitsOf(sum.f[0]), 0u);
  EXPECT_EQ(fma.f[0], 0x1p-128f) << "ordinary arithmetic follows the mode";
  EXPECT_EQ(after, kDefaultMode & 0xffc0u) << "the mode is put back";
}
TEST(EmulatedDpbf16, KeepsTheSignOfAFlushedSum) {
  const __m512i small = _mm512_set1_epi32(static_cast<int32_t>(Pair(0x1p-64f, 0.0f)));
  const __m512i minus = _mm512_set1_epi32(static_cast<int32_t>(Pair(-0x1p-64f, 0.0f)));
  EXPECT_EQ(BitsOf(_mm512_dpbf16_ps(_mm512_setzero_ps(), small, minus).f[0]), 0x80000000u);
}

TEST(EmulatedAvx512, MaskedLanesAreNotTouched) {
  uint32_t words[16];
  for (uint32_t i = 0; i < 16; ++i) words[i] = i;
  _mm512_mask_storeu_epi32(words, 0x00f0, _mm512_set1_epi32(77));
  for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(words[i], i >= 4 && i < 8 ? 77u : i);
  _mm512_mask_storeu_epi16(words, 0x2u, _mm512_set1_epi16(-1));
  EXPECT_EQ(words[0], 0xffff0000u);
  const __m512i loaded = _mm512_maskz_loadu_epi16(0x80000001u, words);
  EXPECT_EQ(loaded.u[0], 0u);
  EXPECT_EQ(loaded.u[15], 0u);
  EXPECT_EQ(loaded.u[4], 0u);
}
TEST(EmulatedAvx512, MinMaxAndComparisonsTreatNanAsTheInstructionsDo) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(_mm512_min_ps(_mm512_set1_ps(nan), _mm512_set1_ps(2.0f)).f[0], 2.0f);
  EXPECT_TRUE(std::isnan(_mm512_min_ps(_mm512_set1_ps(2.0f), _mm512_set1_ps(nan)).f[0]));
  EXPECT_EQ(BitsOf(_mm512_max_ps(_mm512_set1_ps(0.0f), _mm512_set1_ps(-0.0f)).f[0]), 0x80000000u);
  const __m512 x = _mm512_set1_ps(nan), y = _mm512_set1_ps(1.0f);
  EXPECT_EQ(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), 0);
  EXPECT_EQ(_mm512_cmp_ps_mask(x, y, _CMP_NLT_UQ), 0xffff);
  EXPECT_EQ(_mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q), 0xffff);
  EXPECT_EQ(_mm512_cmp_ps_mask(y, y, _CMP_GE_OQ), 0xffff);
  EXPECT_EQ(_mm512_roundscale_ps(_mm512_set1_ps(2.5f), 8).f[0], 2.0f);
  EXPECT_EQ(_mm512_cvtps_epi32(x).u[0], 0x80000000u);
}
TEST(EmulatedAvx512, ScaleTakesTheFloorOfTheExponent) {
  const auto scale = [](float a, float b) {
    return _mm512_scalef_ps(_mm512_set1_ps(a), _mm512_set1_ps(b)).f[9];
  };
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(scale(1.5f, 3.0f), 12.0f);
  EXPECT_EQ(scale(-1.5f, -1.25f), -0.375f);
  EXPECT_EQ(scale(0x1p-100f, 127.0f), 0x1p27f);
  EXPECT_EQ(scale(0x1p100f, 100.0f), infinity);
  EXPECT_EQ(scale(1.0f, -infinity), 0.0f);
  EXPECT_TRUE(std::isnan(scale(1.0f, std::numeric_limits<float>::quiet_NaN())));
}
TEST(EmulatedAvx512, ShufflesMoveTheLanesTheManualNames) {
  alignas(64) uint32_t from[32];
  for (uint32_t i = 0; i < 32; ++i) from[i] = i;
  const __m512i a = _mm512_load_si512(from), b = _mm512_load_si512(from + 16);
  constexpr uint32_t kLow[4] = {0, 16, 1, 17}, kHigh64[4] = {2, 3, 18, 19};
  for (uint32_t i = 0; i < 16; ++i) {
    EXPECT_EQ(_mm512_unpacklo_epi32(a, b).u[i], kLow[i % 4] + i / 4 * 4);
    EXPECT_EQ(_mm512_unpackhi_epi64(a, b).u[i], kHigh64[i % 4] + i / 4 * 4);
    EXPECT_EQ(_mm512_shuffle_i32x4(a, b, 0x88).u[i], (i < 8 ? 0u : 16u) + i % 8 / 4 * 8 + i % 4);
    EXPECT_EQ(_mm512_shuffle_i32x4(a, b, 0xdd).u[i], (i < 8 ? 0u : 16u) + 4 + i % 8 / 4 * 8 + i % 4);
  }
}

struct alignas(64) Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t colsb[16] = {64, 64, 64};
  uint8_t rows[16] = {2, 2, 16};
};

// One TDPBF16PS on 2 x 16 sums: row 0 of the left operand is `pairs`, the right operand all ones.
float Tdp(float sum, const uint32_t (&pairs)[16]) {
  const Config config;
  _tile_loadconfig(&config);
  float c[2][16];
  uint32_t a[2][16] = {}, ones[16][16];
  for (float& x : c[0]) x = sum;
  for (float& x : c[1]) x = 7.0f;
  memcpy(a[0], pairs, 64);
  for (auto& row : ones)
    for (uint32_t& x : row) x = Pair(1.0f, 1.0f);
  _tile_loadd(0, c, 64);
  _tile_loadd(1, a, 64);
  _tile_loadd(2, ones, 64);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, c, 64);
  _tile_release();
  EXPECT_EQ(c[1][3], 7.0f);
  EXPECT_EQ(c[0][0], c[0][15]);
  return c[0][0];
}

TEST(EmulatedAmx, SumsFromZeroBeforeItAdds) {
  uint32_t pairs[16];
  for (uint32_t& p : pairs) p = Pair(0.5f * kUlp, 0.0f);
  EXPECT_EQ(Tdp(1.0f, pairs), 1.0f + 8 * kUlp);  // one by one each would be lost
}
TEST(EmulatedAmx, AddsEvenAndOddSumsToEachOtherFirst) {
  const uint32_t pairs[16] = {Pair(0.5f * kUlp, 0.5f * kUlp)};
  EXPECT_EQ(Tdp(1.0f, pairs), 1.0f + kUlp);
}
TEST(EmulatedAmx, SumsEvenAndOddApart) {
  // In one chain: 2^24 + 1 -> 2^24, - 2^24 -> 0, + 1. Apart: odd 1 + 1 = 2 survives.
  const uint32_t pairs[16] = {Pair(0x1p24f, 1.0f), Pair(-0x1p24f, 1.0f)};
  EXPECT_EQ(Tdp(0.0f, pairs), 2.0f);
}
TEST(EmulatedAmx, FlushesDenormalsWhateverTheMode) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(kDefaultMode);
  const uint32_t none[16] = {}, tiny[16] = {0x00010001};
  const float sum = Tdp(OfBits(1), none), input = Tdp(0.0f, tiny);
  _mm_setcsr(saved);
  EXPECT_EQ(BitsOf(sum), 0u);
  EXPECT_EQ(BitsOf(input), 0u);
}

TEST(EmulatedAmx, TilesBelongToAThreadAndReleaseForgets) {
  const Config config;
  _tile_loadconfig(&config);
  EXPECT_EQ(emulated::tiles.palette, 1);
  std::thread([] { EXPECT_EQ(emulated::tiles.palette, 0); }).join();
  _tile_release();
  EXPECT_EQ(emulated::tiles.palette, 0);
}

TEST(EmulatedAmxDeathTest, RefusesWhatTheProcessorFaultsOn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  alignas(64) float data[256] = {};
  _tile_release();
  EXPECT_DEATH(_tile_loadd(0, data, 64), "no tile configuration");
  Config palette, rows, half, ninth, reserved;
  palette.palette = 2;
  rows.rows[0] = 17;
  half.colsb[1] = 0;
  ninth.rows[8] = 1;
  ninth.colsb[8] = 64;
  reserved.reserved[3] = 1;
  EXPECT_DEATH(_tile_loadconfig(&palette), "palette");
  EXPECT_DEATH(_tile_loadconfig(&rows), "larger than 16 rows");
  EXPECT_DEATH(_tile_loadconfig(&half), "both be 0");
  EXPECT_DEATH(_tile_loadconfig(&ninth), "eight tiles");
  EXPECT_DEATH(_tile_loadconfig(&reserved), "reserved");
  Config mismatch;
  mismatch.rows[1] = 3;
  _tile_loadconfig(&mismatch);
  EXPECT_DEATH(_tile_dpbf16ps(0, 1, 2), "rows of sums");
  EXPECT_DEATH(_tile_dpbf16ps(0, 0, 2), "must differ");
  EXPECT_DEATH(_tile_zero(5), "not configured");
  _tile_release();
}

}  // namespace
