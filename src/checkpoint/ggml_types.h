// ggml's numbers for tensor types, as a GGUF file holds them.
#ifndef FUSIONTREE_CHECKPOINT_GGML_TYPES_H_
#define FUSIONTREE_CHECKPOINT_GGML_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/dtype.h"

namespace fusiontree::checkpoint {

// Null for a type that is not read.
std::optional<tensor::DType> GgmlType(uint32_t number);

// "Q2_K (ggml type 10)" for an error sentence, without the name where none is known.
std::string GgmlTypeName(uint32_t number);

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_GGML_TYPES_H_
