#include "tensor/dtype.h"

#include <bit>

#include "base/check.h"

namespace fusiontree::tensor {

const DTypeInfo& Info(DType type) {
  static constexpr DTypeInfo kInfo[] = {
      {"F32", 1, 4, true},      {"F16", 1, 2, true},      {"BF16", 1, 2, true},   {"F64", 1, 8, false},
      {"I64", 1, 8, false},     {"I32", 1, 4, false},     {"I16", 1, 2, false},   {"I8", 1, 1, false},
      {"U8", 1, 1, false},      {"BOOL", 1, 1, false},    {"Q4_0", 32, 18, true}, {"Q4_1", 32, 20, true},
      {"Q5_0", 32, 22, true},   {"Q5_1", 32, 24, true},   {"Q8_0", 32, 34, true}, {"Q4_K", 256, 144, true},
      {"Q5_K", 256, 176, true}, {"Q6_K", 256, 210, true},
  };
  return kInfo[static_cast<size_t>(type)];
}

size_t BytesFor(DType type, size_t elements) {
  const DTypeInfo& info = Info(type);
  FT_CHECK(elements % info.block == 0);
  return elements / info.block * info.bytes;
}

float Bf16ToFloat(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

uint16_t FloatToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);  // NaN, quiet
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float F16ToFloat(uint16_t value) {
  const uint32_t sign = uint32_t{value & 0x8000u} << 16;
  uint32_t exponent = (value >> 10) & 0x1fu;
  uint32_t mantissa = value & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    if (mantissa == 0) return std::bit_cast<float>(sign);
    exponent = 1;
    while ((mantissa & 0x400u) == 0) {  // a subnormal half is a normal float
      mantissa <<= 1;
      --exponent;
    }
    mantissa &= 0x3ffu;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t FloatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds past 65504
  if (magnitude < 0x33000001u) return sign;  // at most half the least subnormal
  uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const int exponent = static_cast<int>(magnitude >> 23) - 112;
  const int shift = exponent >= 1 ? 13 : 14 - exponent;
  const uint32_t half = 1u << (shift - 1);
  const uint32_t rest = mantissa & ((1u << shift) - 1);
  mantissa >>= shift;
  if (rest > half || (rest == half && (mantissa & 1u))) ++mantissa;
  // The hidden bit of a normal result adds one to the exponent field; a carry does the right thing too.
  return static_cast<uint16_t>(sign + (exponent >= 1 ? (static_cast<uint32_t>(exponent - 1) << 10) : 0u) +
                               mantissa);
}

}  // namespace fusiontree::tensor
