// Names, shapes and sharding of the decoder's tensors, in Hugging Face folders and in GGUF files.
#ifndef FUSIONTREE_MODELS_DECODER_WEIGHT_MAP_H_
#define FUSIONTREE_MODELS_DECODER_WEIGHT_MAP_H_

#include <vector>

#include "models/decoder/config.h"
#include "models/weight_map.h"

namespace fusiontree::models {

struct LayerRules {
  TensorRule input_norm, post_norm;
  TensorRule q, k, v, o;
  std::vector<TensorRule> qkv_bias;  // q, k, v; or empty
  std::vector<TensorRule> o_bias;    // one or none
  std::vector<TensorRule> qk_norm;   // q, k; or empty
  TensorRule gate, up, down;
  std::vector<TensorRule> gate_up_bias;  // gate, up; or empty
  std::vector<TensorRule> down_bias;     // one or none
};

struct DecoderRules {
  TensorRule embedding, final_norm;
  std::vector<TensorRule> head;  // one, or none when tied
  std::vector<LayerRules> layers;
  std::vector<TensorRule> All() const;  // every rule once
};

// `interleaved`: the GGUF file comes from llama.cpp's "llama" converter, which interleaves q and k rows.
DecoderRules MakeDecoderRules(const DecoderConfig& config, bool interleaved);
// Those of a checkpoint's format.
DecoderRules RulesOf(checkpoint::Checkpoint::Format format, const DecoderConfig& config);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_WEIGHT_MAP_H_
