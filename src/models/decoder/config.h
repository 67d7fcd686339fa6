// Everything that decides the function of a Qwen2-, Qwen3-, Llama- or Mistral-family decoder.
#ifndef FUSIONTREE_MODELS_DECODER_CONFIG_H_
#define FUSIONTREE_MODELS_DECODER_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "models/config.h"

namespace fusiontree::models {

struct RopeConfig {
  enum class Scaling { kNone, kLinear, kLlama3 };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;                   // linear, llama3
  double low_freq_factor = 1.0;          // llama3
  double high_freq_factor = 4.0;         // llama3
  int64_t original_max_position = 8192;  // llama3
  std::vector<float>
      factors;  // GGUF's rope_freqs.weight, [d/2]: frequency i is divided by factors[i]; else empty
};

// h' = h + o_proj(attention(norm(h)));  h'' = h' + down_proj(silu(gate_proj(n)) * up_proj(n)), n = norm(h').
struct DecoderConfig : Config {
  int64_t intermediate_size = 0;  // I
  int64_t num_heads = 0;          // n_h
  int64_t num_kv_heads = 0;       // n_kv, divides n_h; query head h uses KV head h * n_kv / n_h
  int64_t head_dim = 0;           // d, even
  double norm_eps = 1e-6;         // RMSNorm: x / sqrt(mean(x^2) + eps) * weight
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;          // RMSNorm over d of each query and key head, before RoPE
  RopeConfig rope;               // half rotation
  std::vector<int64_t> windows;  // per layer: 0 = sees all, W = sees itself and its W - 1 predecessors
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_CONFIG_H_
