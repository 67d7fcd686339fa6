// The safetensors container: 8 bytes of header length, a JSON header, the data.
// https://github.com/huggingface/safetensors#format. These functions take bytes, not files.
#ifndef FUSIONTREE_CHECKPOINT_SAFETENSORS_H_
#define FUSIONTREE_CHECKPOINT_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"

namespace fusiontree::checkpoint {

inline constexpr uint64_t kSafetensorsPrefix = 8;
inline constexpr uint64_t kSafetensorsMaxHeader = 100'000'000;  // the limit of the format's own library

// The names of the format and of this project agree for every type that both have.
std::optional<tensor::DType> SafetensorsType(std::string_view name);

// The header's length in bytes, from the first bytes of a file of `file_size` bytes (8 of them, if it has so
// many).
base::Result<uint64_t> SafetensorsHeaderSize(std::span<const uint8_t> start, uint64_t file_size);

// The tensors, in order of offset; `data_start` is added to each offset. The data must cover exactly
// `data_size` bytes without holes or overlaps. Header keys other than the format's are refused.
base::Result<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header, uint64_t data_start,
                                                             uint64_t data_size);

// model.safetensors.index.json: tensor name -> shard file name, each name a plain file name in the same
// folder.
base::Result<std::map<std::string, std::string>> ParseSafetensorsIndex(std::string_view text);

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_SAFETENSORS_H_
