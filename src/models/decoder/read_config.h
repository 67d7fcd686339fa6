// From other people's formats to a DecoderConfig.
#ifndef FUSIONTREE_MODELS_DECODER_READ_CONFIG_H_
#define FUSIONTREE_MODELS_DECODER_READ_CONFIG_H_

#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "models/decoder/config.h"
#include "models/decoder/family.h"

namespace fusiontree::models {

// The text of a config.json. Takes bytes, so that it can be fuzzed.
base::Result<DecoderConfig> ReadJsonConfig(std::string_view text, const std::vector<const Family*>& families);
// GGUF metadata; `checkpoint` answers which optional tensors are there (biases, tied head, rope factors).
base::Result<DecoderConfig> ReadGgufConfig(const checkpoint::Checkpoint& checkpoint,
                                           const std::vector<const Family*>& families);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_READ_CONFIG_H_
