// What the tests of this folder share: seeded inputs, aligned memory, and the list of variants to loop over.
#ifndef FUSIONTREE_KERNELS_KERNELS_TESTING_H_
#define FUSIONTREE_KERNELS_KERNELS_TESTING_H_

#include <gtest/gtest.h>
#include <stdint.h>
#include <string.h>
#include <xmmintrin.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "kernels/bf16_variants.h"
#include "kernels/table.h"
#include "kernels/variants.h"

namespace fusiontree::kernels {

const Table* Avx512EmulatedTable();  // avx512's text on emulated intrinsics, for processors without

// The tables a test loops over; a name that is missing here is skipped by that name.
inline std::vector<std::string> TestedVariants() {
  return {"avx2", "avx512", "avx512_emulated", "avx512bf16", "avx512bf16_emulated", "amx", "amx_emulated"};
}

inline Table WithBf16Ops(const Bf16Ops& ops) {
  Table table = *Avx512EmulatedTable();
  table.matrix[kBf16Bf16] = ops.matrix;
  table.attention[kAttentionBf16] = ops.attention;
  return table;
}

struct Pair {
  const Table* table = nullptr;
  const Table* twin = nullptr;
  std::string missing;
};
inline Pair PairOf(const std::string& name) {
  if (name.find("_emulated") != std::string::npos && Avx512EmulatedTable() == nullptr)
    return {nullptr, nullptr, "instrumented builds have no emulation"};
  if (name == "avx512_emulated") {
    if (!Supported("avx2")) return {nullptr, nullptr, "the emulation needs AVX2"};
    return {Avx512EmulatedTable(), RefTable(), ""};
  }
  if (name == "avx512bf16_emulated" || name == "amx_emulated") {
    if (!Supported("avx2")) return {nullptr, nullptr, "the emulation needs AVX2"};
    static const Table dpbf16 = WithBf16Ops(*EmulatedAvx512Bf16Ops()), amx = WithBf16Ops(*EmulatedAmxOps());
    if (name == "amx_emulated") return {&amx, RefAmxTable(), ""};
    return {&dpbf16, RefAvx512Bf16Table(), ""};
  }
  const Variant* v = Find(name);
  if (v == nullptr) return {nullptr, nullptr, "unknown"};
  return {v->table, v->twin, v->missing};
}

// A test body runs once per variant, under the mode of R13.
class VariantTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    csr_ = _mm_getcsr();
    _mm_setcsr(0x9fc0);
    pair_ = PairOf(GetParam());
    if (!pair_.missing.empty()) GTEST_SKIP() << GetParam() << ": " << pair_.missing;
  }
  void TearDown() override { _mm_setcsr(csr_); }
  const Table& table() const { return *pair_.table; }
  const Table& twin() const { return *pair_.twin; }

 private:
  Pair pair_;
  unsigned csr_ = 0;
};

// 64-byte aligned, ending at the end of its allocation, so that a sanitizer sees a read past it.
class Bytes {
 public:
  explicit Bytes(size_t size)
      : size_(size), memory_(static_cast<char*>(aligned_alloc(64, (size + 63) / 64 * 64 + 64)), free) {
    memset(memory_.get(), 0, (size + 63) / 64 * 64 + 64);
  }
  void* data() const { return memory_.get(); }
  size_t size() const { return size_; }

 private:
  size_t size_;
  std::shared_ptr<char> memory_;
};

// splitmix64
class Draw {
 public:
  explicit Draw(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t n) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(n)); }
  // Sum of four uniforms, scaled: near normal, deviation 1.
  float Normal() {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<double>(Next() >> 11) * 0x1p-53 - 0.5;
    return static_cast<float>(sum * std::sqrt(3.0));
  }
  std::vector<float> Normals(int64_t n, float scale = 1.0f) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = Normal() * scale;
    return v;
  }

 private:
  uint64_t state_;
};

inline uint32_t BitsOf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}
inline float OfBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline uint16_t ToBf16(float value) {
  const uint32_t bits = BitsOf(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float Bf16(uint16_t value) { return OfBits(static_cast<uint32_t>(value) << 16); }

// An input that says something: neither constant nor all of one sign.
inline void ExpectSpread(const std::vector<float>& v) {
  double sum = 0, squares = 0;
  for (const float x : v) {
    sum += static_cast<double>(x);
    squares += static_cast<double>(x) * static_cast<double>(x);
  }
  const double n = static_cast<double>(v.size()), mean = sum / n,
               deviation = std::sqrt(squares / n - mean * mean);
  ASSERT_GT(deviation, 1e-3);
  ASSERT_LT(std::fabs(mean), 0.5 * deviation + 3 * deviation / std::sqrt(n));
}

// The first element whose bits differ is named.
inline testing::AssertionResult SameBits(const float* got, const float* expected, int64_t n) {
  if (memcmp(got, expected, static_cast<size_t>(n) * sizeof(float)) == 0) return testing::AssertionSuccess();
  for (int64_t i = 0; i < n; ++i) {
    if (BitsOf(got[i]) == BitsOf(expected[i])) continue;
    return testing::AssertionFailure()
           << "element " << i << " of " << n << ": expected " << expected[i] << " (0x" << std::hex
           << BitsOf(expected[i]) << "), got " << got[i] << " (0x" << BitsOf(got[i]) << ")";
  }
  return testing::AssertionFailure();
}

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_KERNELS_TESTING_H_
