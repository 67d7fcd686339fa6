#include "checkpoint/ggml_types.h"

#include <fmt/core.h>

#include <utility>

namespace fusiontree::checkpoint {

using tensor::DType;

std::optional<DType> GgmlType(uint32_t number) {
  switch (number) {
    case 0:
      return DType::kF32;
    case 1:
      return DType::kF16;
    case 2:
      return DType::kQ4_0;
    case 3:
      return DType::kQ4_1;
    case 6:
      return DType::kQ5_0;
    case 7:
      return DType::kQ5_1;
    case 8:
      return DType::kQ8_0;
    case 12:
      return DType::kQ4_K;
    case 13:
      return DType::kQ5_K;
    case 14:
      return DType::kQ6_K;
    case 24:
      return DType::kI8;
    case 25:
      return DType::kI16;
    case 26:
      return DType::kI32;
    case 27:
      return DType::kI64;
    case 28:
      return DType::kF64;
    case 30:
      return DType::kBF16;
    default:
      return std::nullopt;
  }
}

std::string GgmlTypeName(uint32_t number) {
  // The ones that exist but are not read.
  static constexpr std::pair<uint32_t, const char*> kNames[] = {
      {4, "Q4_2"},     {5, "Q4_3"},    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},
      {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
      {22, "IQ2_S"},   {23, "IQ4_XS"}, {29, "IQ1_M"},   {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"},
  };
  for (const auto& [known, name] : kNames) {
    if (known == number) return fmt::format("{} (ggml type {})", name, number);
  }
  return fmt::format("ggml type {}", number);
}

}  // namespace fusiontree::checkpoint
