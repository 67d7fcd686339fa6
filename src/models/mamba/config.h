// Hugging Face's MambaForCausalLM (Mamba-1).
#ifndef FUSIONTREE_MODELS_MAMBA_CONFIG_H_
#define FUSIONTREE_MODELS_MAMBA_CONFIG_H_

#include <string_view>

#include "base/status.h"
#include "models/config.h"

namespace fusiontree::models {

// h' = h + mixer(RMSNorm(h)), n times; final RMSNorm; head.
struct MambaConfig : Config {
  int64_t inner = 0;           // D
  int64_t state_size = 16;     // N
  int64_t conv_kernel = 4;     // K
  int64_t time_step_rank = 0;  // R
  double norm_eps = 1e-5;
  bool use_bias = false;  // of in_proj and out_proj
  bool use_conv_bias = true;
};

// The text of a config.json of "model_type": "mamba". A key that changes the function is read or refused by
// name.
base::Result<MambaConfig> ReadMambaConfig(std::string_view text);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_MAMBA_CONFIG_H_
