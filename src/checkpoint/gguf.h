// The GGUF container, versions 2 and 3, little endian.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Takes bytes, not files.
#ifndef FUSIONTREE_CHECKPOINT_GGUF_H_
#define FUSIONTREE_CHECKPOINT_GGUF_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/metadata.h"

namespace fusiontree::checkpoint {

// Real headers are a few MB, nearly all of it vocabulary and merges.
inline constexpr uint64_t kGgufMaxHeader = 128u << 20;

struct GgufHeader {
  Metadata metadata;
  std::vector<TensorInfo> tensors;  // in the file's order; offsets count from the start of the file
};

// Parses the header of a file of `file_size` bytes that starts with `bytes`. When the header goes on after
// `bytes` and the file does too, *needs_more becomes true, the result is an error, and the caller comes
// back with more. Memory is bounded by a small multiple of bytes.size(), whatever the counts in the file say.
base::Result<GgufHeader> ParseGguf(std::span<const uint8_t> bytes, uint64_t file_size, bool* needs_more);

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_GGUF_H_
