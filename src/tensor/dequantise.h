// Reference dequantisers: the exact value of each element of GGUF's block formats, in fp32.
#ifndef FUSIONTREE_TENSOR_DEQUANTISE_H_
#define FUSIONTREE_TENSOR_DEQUANTISE_H_

#include <cstddef>

#include "tensor/dtype.h"

namespace fusiontree::tensor {

// Widens or dequantises `elements` values of a float type (Info(type).is_float) to fp32, in order.
// `elements` is a multiple of the type's block. Bits equal those of ggml's reference functions
// (one fp32 rounding per written operation, no contraction).
void ToFloat(DType type, const void* data, size_t elements, float* out);

}  // namespace fusiontree::tensor

#endif  // FUSIONTREE_TENSOR_DEQUANTISE_H_
