// What a family of the shared decoder adds to it: the names it goes by and its own config keys.
#ifndef FUSIONTREE_MODELS_DECODER_FAMILY_H_
#define FUSIONTREE_MODELS_DECODER_FAMILY_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/metadata.h"
#include "models/config_object.h"
#include "models/decoder/config.h"

namespace fusiontree::models {

struct Family {
  const char* model_type;                  // of config.json
  std::vector<const char*> architectures;  // of config.json, the first one current
  const char* gguf_architecture;           // general.architecture; "" when another family's files carry it
  int64_t default_max_positions;           // max_position_embeddings when config.json leaves it out
  bool requires_kv_heads;                  // num_key_value_heads may not be left out
  // Reads the family's own keys after the common ones (sizes, rope, norm, ties) are filled in.
  base::Status (*read)(ConfigObject& json, DecoderConfig* config);
  base::Status (*read_gguf)(const checkpoint::Metadata& metadata, DecoderConfig* config);
};

const Family& Qwen2Family();
const Family& Qwen3Family();
const Family& LlamaFamily();
const Family& MistralFamily();

// Checks what no family may violate, fills in windows (none where empty) and the reduction slices (R2), and
// returns the config. `override_slices` 0: computed.
base::Result<DecoderConfig> FinishConfig(DecoderConfig config, int64_t override_slices);

// Sliding windows of Qwen2 and Qwen3 (use_sliding_window, sliding_window, max_window_layers, layer_types).
base::Status ReadQwenWindows(ConfigObject& json, DecoderConfig* config);

// The inverse frequencies of RoPE, [head_dim / 2], as Transformers computes them, in fp32.
std::vector<float> InverseFrequencies(const DecoderConfig& config);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_FAMILY_H_
