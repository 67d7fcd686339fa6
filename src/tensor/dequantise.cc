// Each block loop is written so that the compiler vectorises it: fixed trip counts, codes unpacked into a
// byte array first, then one widening multiply (and add). That is also the order of roundings of ggml's
// reference: scale times code, then the offset, each rounded to fp32.
#include "tensor/dequantise.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace fusiontree::tensor {
namespace {

float LoadF16(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, sizeof half);
  return F16ToFloat(half);
}

// out[i] = scale * codes[i]
template <int N, typename Code>
void Scale(float scale, const Code* __restrict codes, float* __restrict out) {
  for (int i = 0; i < N; ++i) out[i] = scale * static_cast<float>(static_cast<int32_t>(codes[i]));
}

// out[i] = scale * codes[i] + offset
template <int N>
void ScaleAdd(float scale, float offset, const uint8_t* __restrict codes, float* __restrict out) {
  for (int i = 0; i < N; ++i) out[i] = scale * static_cast<float>(static_cast<int32_t>(codes[i])) + offset;
}

// N packed bytes become 2N codes: the low halves, then the high halves.
template <int N>
void Nibbles(const uint8_t* __restrict packed, uint8_t* __restrict codes) {
  for (int i = 0; i < N; ++i) codes[i] = packed[i] & 0x0F;
  for (int i = 0; i < N; ++i) codes[N + i] = packed[i] >> 4;
}

// Adds 16 to code i where bit i of the 32-bit word is set.
void FifthBits(const uint8_t* __restrict word, uint8_t* __restrict codes) {
  static constexpr uint8_t kBit[32] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                                       1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  uint8_t spread[32];
  for (int b = 0; b < 4; ++b) std::memset(spread + 8 * b, word[b], 8);
  for (int i = 0; i < 32; ++i) codes[i] |= (spread[i] & kBit[i]) != 0 ? 16 : 0;
}

// {f16 d; u8 q[16]}: d * (q - 8)
void BlockQ4_0(const uint8_t* block, float* out) {
  uint8_t codes[32];
  Nibbles<16>(block + 2, codes);
  int8_t centred[32];
  for (int i = 0; i < 32; ++i) centred[i] = static_cast<int8_t>(codes[i] - 8);
  Scale<32>(LoadF16(block), centred, out);
}

// {f16 d; f16 m; u8 q[16]}: d * q + m
void BlockQ4_1(const uint8_t* block, float* out) {
  uint8_t codes[32];
  Nibbles<16>(block + 4, codes);
  ScaleAdd<32>(LoadF16(block), LoadF16(block + 2), codes, out);
}

// {f16 d; u32 high; u8 q[16]}: d * (q - 16)
void BlockQ5_0(const uint8_t* block, float* out) {
  uint8_t codes[32];
  Nibbles<16>(block + 6, codes);
  FifthBits(block + 2, codes);
  int8_t centred[32];
  for (int i = 0; i < 32; ++i) centred[i] = static_cast<int8_t>(codes[i] - 16);
  Scale<32>(LoadF16(block), centred, out);
}

// {f16 d; f16 m; u32 high; u8 q[16]}: d * q + m
void BlockQ5_1(const uint8_t* block, float* out) {
  uint8_t codes[32];
  Nibbles<16>(block + 8, codes);
  FifthBits(block + 4, codes);
  ScaleAdd<32>(LoadF16(block), LoadF16(block + 2), codes, out);
}

// {f16 d; i8 q[32]}: d * q
void BlockQ8_0(const uint8_t* block, float* out) {
  int8_t codes[32];
  std::memcpy(codes, block + 2, sizeof codes);
  Scale<32>(LoadF16(block), codes, out);
}

// Six-bit scale and offset of sub-block j of 8, packed in 12 bytes (Q4_K and Q5_K).
void SixBitPair(const uint8_t* packed, int j, uint8_t* scale, uint8_t* offset) {
  if (j < 4) {
    *scale = packed[j] & 63;
    *offset = packed[j + 4] & 63;
  } else {
    *scale = static_cast<uint8_t>((packed[j + 4] & 0x0F) | ((packed[j - 4] >> 6) << 4));
    *offset = static_cast<uint8_t>((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4));
  }
}

// Sub-block j of 32: (d * scale_j) * q - (dmin * offset_j). Subtracting is adding the exact negative.
void KSubBlock(const uint8_t* block, int j, const uint8_t* codes, float* out) {
  uint8_t scale, offset;
  SixBitPair(block + 4, j, &scale, &offset);
  ScaleAdd<32>(LoadF16(block) * scale, -(LoadF16(block + 2) * offset), codes, out + 32 * j);
}

// {f16 d; f16 dmin; u8 scales[12]; u8 q[128]}
void BlockQ4_K(const uint8_t* block, float* out) {
  for (int pair = 0; pair < 4; ++pair) {
    uint8_t codes[64];
    Nibbles<32>(block + 16 + 32 * pair, codes);
    KSubBlock(block, 2 * pair, codes, out);
    KSubBlock(block, 2 * pair + 1, codes + 32, out);
  }
}

// {f16 d; f16 dmin; u8 scales[12]; u8 high[32]; u8 q[128]}: bit j of high[i] is bit 4 of code i of sub-block
// j
void BlockQ5_K(const uint8_t* block, float* out) {
  const uint8_t* high = block + 16;
  for (int pair = 0; pair < 4; ++pair) {
    uint8_t codes[64];
    Nibbles<32>(block + 48 + 32 * pair, codes);
    for (int i = 0; i < 32; ++i) codes[i] |= static_cast<uint8_t>(((high[i] >> (2 * pair)) & 1) << 4);
    for (int i = 0; i < 32; ++i)
      codes[32 + i] |= static_cast<uint8_t>(((high[i] >> (2 * pair + 1)) & 1) << 4);
    KSubBlock(block, 2 * pair, codes, out);
    KSubBlock(block, 2 * pair + 1, codes + 32, out);
  }
}

// {u8 low[128]; u8 high[64]; i8 scales[16]; f16 d}: (d * scale_j) * (q - 32), sub-blocks of 16
void BlockQ6_K(const uint8_t* block, float* out) {
  const float d = LoadF16(block + 208);
  int8_t scales[16];
  std::memcpy(scales, block + 192, sizeof scales);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* high = block + 128 + 32 * half;
    uint8_t codes[128];
    Nibbles<64>(block + 64 * half, codes);
    for (int part = 0; part < 4; ++part) {
      for (int i = 0; i < 32; ++i) {
        codes[32 * part + i] |= static_cast<uint8_t>(((high[i] >> (2 * part)) & 3) << 4);
      }
    }
    int8_t centred[128];
    for (int i = 0; i < 128; ++i) centred[i] = static_cast<int8_t>(codes[i] - 32);
    for (int j = 0; j < 8; ++j) {
      Scale<16>(d * static_cast<float>(scales[8 * half + j]), centred + 16 * j, out + 128 * half + 16 * j);
    }
  }
}

template <void (*kBlock)(const uint8_t*, float*)>
void Blocks(DType type, const uint8_t* data, size_t elements, float* out) {
  const DTypeInfo& info = Info(type);
  FT_CHECK(elements % info.block == 0);
  for (size_t i = 0; i < elements / info.block; ++i) kBlock(data + i * info.bytes, out + i * info.block);
}

// Branch-free so that it vectorises. A normal half moves to its fp32 place with the exponent raised by 112. A
// subnormal one becomes 2^-14 * (1 + mantissa), from which 2^-14 is taken exactly: no fp32 subnormal takes
// part, so the result is the same under flush-to-zero. Infinity and NaN get the exponent 255.
template <int N>
void F16ToFloats(const uint8_t* __restrict data, float* __restrict out) {
  for (int i = 0; i < N; ++i) {
    uint16_t half;
    std::memcpy(&half, data + 2 * i, sizeof half);
    const uint32_t magnitude = (half & 0x7fffu) << 13;
    const uint32_t sign = (half & 0x8000u) << 16;
    const uint32_t normal = magnitude + (112u << 23);
    const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f);
    const uint32_t is_small = 0u - static_cast<uint32_t>(magnitude < 0x00800000u);
    const uint32_t is_special = 0u - static_cast<uint32_t>(magnitude >= 0x0f800000u);
    const uint32_t finite = (small & is_small) | (normal & ~is_small);
    out[i] = std::bit_cast<float>(sign | finite | (0x7f800000u & is_special));
  }
}

template <int N>
void Bf16ToFloats(const uint8_t* __restrict data, float* __restrict out) {
  for (int i = 0; i < N; ++i) {
    uint16_t half;
    std::memcpy(&half, data + 2 * i, sizeof half);
    out[i] = std::bit_cast<float>(uint32_t{half} << 16);
  }
}

// Two-byte elements in runs of a length that is known to the compiler, the rest one by one.
template <void (*kRun)(const uint8_t*, float*), void (*kOne)(const uint8_t*, float*)>
void Halves(const uint8_t* data, size_t elements, float* out) {
  size_t i = 0;
  for (; i + 64 <= elements; i += 64) kRun(data + 2 * i, out + i);
  for (; i < elements; ++i) kOne(data + 2 * i, out + i);
}

}  // namespace

void ToFloat(DType type, const void* data, size_t elements, float* out) {
  FT_CHECK(Info(type).is_float);
  if (elements == 0) return;
  const uint8_t* bytes = static_cast<const uint8_t*>(data);
  switch (type) {
    case DType::kF32:
      std::memcpy(out, bytes, elements * sizeof(float));
      return;
    case DType::kF16:
      return Halves<F16ToFloats<64>, F16ToFloats<1>>(bytes, elements, out);
    case DType::kBF16:
      return Halves<Bf16ToFloats<64>, Bf16ToFloats<1>>(bytes, elements, out);
    case DType::kQ4_0:
      return Blocks<BlockQ4_0>(type, bytes, elements, out);
    case DType::kQ4_1:
      return Blocks<BlockQ4_1>(type, bytes, elements, out);
    case DType::kQ5_0:
      return Blocks<BlockQ5_0>(type, bytes, elements, out);
    case DType::kQ5_1:
      return Blocks<BlockQ5_1>(type, bytes, elements, out);
    case DType::kQ8_0:
      return Blocks<BlockQ8_0>(type, bytes, elements, out);
    case DType::kQ4_K:
      return Blocks<BlockQ4_K>(type, bytes, elements, out);
    case DType::kQ5_K:
      return Blocks<BlockQ5_K>(type, bytes, elements, out);
    case DType::kQ6_K:
      return Blocks<BlockQ6_K>(type, bytes, elements, out);
    default:
      FT_CHECK(false);
  }
}

}  // namespace fusiontree::tensor
