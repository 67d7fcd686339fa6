// Storage types of tensors: plain floats and integers, and the block-quantised formats of GGUF.
#ifndef FUSIONTREE_TENSOR_DTYPE_H_
#define FUSIONTREE_TENSOR_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fusiontree::tensor {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

struct DTypeInfo {
  std::string_view name;  // "F32", "BF16", "Q4_K", ...
  size_t block;           // elements a block (1 for plain types)
  size_t bytes;           // bytes a block
  bool is_float;          // can hold weights: plain float or block-quantised
};

const DTypeInfo& Info(DType type);
inline bool IsQuantised(DType type) { return type >= DType::kQ4_0; }

// Bytes of `elements` elements; elements must be a multiple of the block.
size_t BytesFor(DType type, size_t elements);

// bf16 and f16 to and from fp32: exact widening, round to nearest even narrowing (NaN stays NaN).
float Bf16ToFloat(uint16_t value);
uint16_t FloatToBf16(float value);
float F16ToFloat(uint16_t value);
uint16_t FloatToF16(float value);

}  // namespace fusiontree::tensor

#endif  // FUSIONTREE_TENSOR_DTYPE_H_
