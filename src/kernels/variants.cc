#include "kernels/variants.h"

#include <string.h>
#include <xmmintrin.h>

#include <vector>

#include "kernels/cpu.h"

namespace fusiontree::kernels {
namespace {

// Memory that kernels may read in whole vectors, aligned to a cache line.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes + 64) {}
  void* data() {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    return bytes_.data() + (64 - address % 64) % 64;
  }

 private:
  std::vector<unsigned char> bytes_;
};

// The rounding mode of R13 for the length of a check.
class Mode {
 public:
  Mode() : saved_(_mm_getcsr()) { _mm_setcsr(0x9fc0); }
  ~Mode() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
};

// Values of 8 significant bits over ten binades, exact in every type that a weight may have.
float Value(uint64_t index) {
  uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  const int mantissa = static_cast<int>(z & 0x7f) + 128;
  const float scale = 1.0f / static_cast<float>(1 << ((z >> 8) % 10 + 7));
  return (z >> 32 & 1) != 0 ? static_cast<float>(mantissa) * scale : -static_cast<float>(mantissa) * scale;
}
uint16_t HighHalf(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return static_cast<uint16_t>(bits >> 16);
}
// Value() lies in the normal range of f16.
uint16_t Half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const uint32_t magnitude = ((bits >> 13) & 0x3ffffu) - (112u << 10);
  return static_cast<uint16_t>((bits >> 16 & 0x8000u) | magnitude);
}

struct Product {
  MatrixKind kind;
  int64_t m, k, slices;
  Epilogue epilogue;
};
constexpr int64_t kColumns = 2 * kPanel;

std::vector<float> Compute(const MatrixOps& ops, const Product& c) {
  Buffer source(static_cast<size_t>(kPanel * c.k) * 4), weight(ops.panel_bytes(c.k, c.slices) * 2);
  for (int64_t panel = 0; panel < 2; ++panel) {
    for (int64_t i = 0; i < kPanel * c.k; ++i) {
      const float value = Value(static_cast<uint64_t>(panel * 1000003 + i + 77 * c.k));
      if (c.kind == kF32F32) {
        static_cast<float*>(source.data())[i] = value;
      } else {
        static_cast<uint16_t*>(source.data())[i] = c.kind == kF16F32 ? Half(value) : HighHalf(value);
      }
    }
    ops.pack_weight(
        source.data(), static_cast<size_t>(c.k) * (c.kind == kF32F32 ? 4 : 2), kPanel, c.k, c.slices,
        static_cast<char*>(weight.data()) + ops.panel_bytes(c.k, c.slices) * static_cast<size_t>(panel));
  }
  const int64_t stride = (c.k + 31) / 32 * 32, groups = (c.m + ops.rows_per_group - 1) / ops.rows_per_group;
  std::vector<float> x(static_cast<size_t>(c.m * stride)), bias(kColumns),
      out(static_cast<size_t>(c.m * kColumns));
  for (int64_t r = 0; r < c.m; ++r)
    for (int64_t i = 0; i < c.k; ++i)
      x[static_cast<size_t>(r * stride + i)] = Value(static_cast<uint64_t>(9000001 + r * 4099 + i)) * 1.01f;
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = Value(5000 + i);
  for (size_t i = 0; i < out.size(); ++i) out[i] = Value(7000 + i);
  Buffer rows(ops.rows_bytes(c.m, c.k, c.slices)), scratch(kScratchBytes);
  ops.pack_rows(x.data(), stride, c.m, c.k, c.slices, 0, groups, rows.data());
  const MatmulArgs args = {rows.data(), c.m,         0,          groups,   weight.data(), c.k, c.slices, 0, 2,
                           c.epilogue,  bias.data(), out.data(), kColumns, scratch.data()};
  ops.matmul(&args);
  return out;
}

Variant Make(const char* name, const Table* table, const Table* twin, bool has, const std::string& reason) {
  Variant v = {name, nullptr, twin, ""};
  if (table == nullptr) {
    v.missing = "this build does not have it";
  } else if (!has) {
    v.missing = reason;
  } else if (const std::string wrong = SelfCheck(*table, *twin); !wrong.empty()) {
    v.missing = "its self-check failed on this processor: " + wrong;
  } else {
    v.table = table;
  }
  return v;
}

std::vector<Variant> MakeAll() {
  const Cpu& cpu = ThisCpu();
  std::vector<Variant> all;
  all.push_back({"ref", RefTable(), RefTable(), ""});
  all.push_back(
      Make("avx2", Avx2Table(), RefTable(), cpu.avx2, "this processor has no AVX2 with FMA and F16C"));
  all.push_back(
      Make("avx512", Avx512Table(), RefTable(), cpu.avx512, "this processor has no AVX-512 (F, BW, DQ, VL)"));
  all.push_back(Make("avx512bf16", Avx512Bf16Table(), RefAvx512Bf16Table(), cpu.avx512bf16,
                     "this processor has no AVX512-BF16"));
  all.push_back(
      Make("amx", AmxTable(), RefAmxTable(), cpu.amx,
           cpu.amx_refused ? "the system does not grant AMX tiles" : "this processor has no AMX-BF16"));
  return all;
}

}  // namespace

std::string SelfCheck(const Table& table, const Table& twin) {
  static constexpr const char* kNames[kMatrixKinds] = {"bf16 x bf16", "bf16 x fp32", "f16 x fp32",
                                                       "fp32 x fp32"};
  static constexpr Product kProducts[] = {
      {kBf16Bf16, 1, 90, 1, kStore},  {kBf16Bf16, 3, 300, 6, kAdd},  {kBf16Bf16, 13, 70, 2, kSiluMul},
      {kBf16F32, 1, 90, 2, kSiluMul}, {kBf16F32, 13, 37, 1, kStore}, {kF16F32, 1, 90, 3, kAdd},
      {kF16F32, 13, 37, 1, kStore},   {kF32F32, 1, 90, 1, kStore},   {kF32F32, 13, 296, 8, kSiluMul}};
  const Mode mode;
  for (const Product& c : kProducts) {
    const std::vector<float> got = Compute(table.matrix[c.kind], c),
                             expected = Compute(twin.matrix[c.kind], c);
    for (size_t i = 0; i < got.size(); ++i) {
      if (memcmp(&got[i], &expected[i], sizeof(float)) == 0) continue;
      return std::string("product ") + kNames[c.kind] + ", m " + std::to_string(c.m) + ", k " +
             std::to_string(c.k) + ", output " + std::to_string(i) + ": expected " +
             std::to_string(expected[i]) + ", got " + std::to_string(got[i]);
    }
  }
  return "";
}

std::span<const Variant> Variants() {
  static const std::vector<Variant> all = MakeAll();
  return all;
}

const Variant* Find(std::string_view name) {
  for (const Variant& v : Variants())
    if (name == v.name) return &v;
  return nullptr;
}
bool Supported(std::string_view name) {
  const Variant* v = Find(name);
  return v != nullptr && v->missing.empty();
}
const Variant& Best() {
  const std::span<const Variant> all = Variants();
  for (size_t i = all.size(); i-- > 0;)
    if (all[i].missing.empty()) return all[i];
  return all[0];
}

}  // namespace fusiontree::kernels
