// FusionTree's config as the oracle reads it (see oracle_config.h for why it has a reading of its own).
#ifndef FUSIONTREE_VERIFY_ORACLE_FUSION_CONFIG_H_
#define FUSIONTREE_VERIFY_ORACLE_FUSION_CONFIG_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "models/config.h"

namespace fusiontree::verify {

// Choices are in the words of config.json.
struct OracleFusionConfig {
  int64_t vocab_size = 0, hidden_size = 0, num_layers = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, global_heads = 0;
  std::vector<int64_t> windows;  // per layer
  double rope_theta = 0;
  int64_t attn_conv_kernel = 0;
  bool branch_norm = true, serial = false, layer_norm = true, post = false, aligned = true, tied = true;
  std::string gate;  // channel, token, none
  int64_t gate_rank = 0;
  std::vector<std::string> layer_types;  // hybrid, mamba, attention, local
  double norm_eps = 0;
  std::string srte;  // sincos, learnable, factorized, none
  int64_t srte_rank = 0, table_positions = 0;
  bool srte_shared = true;
  int64_t state_size = 0, conv_kernel = 0, inner = 0, time_step_rank = 0;
  bool ssm_norm = false;

  bool HasMamba(int64_t i) const { return layer_types[static_cast<size_t>(i)] != "attention"; }
  bool HasAttention(int64_t i) const { return layer_types[static_cast<size_t>(i)] != "mamba"; }
  bool AnyMamba() const;
  // One for all layers: sines and cosines need no table.
  bool OneEncoding() const { return srte_shared || srte == "sincos"; }
};

base::Result<OracleFusionConfig> ReadOracleFusionConfig(const nlohmann::json& config);

// One sentence for each field that the engine read differently.
std::vector<std::string> FusionDifferences(const OracleFusionConfig& oracle, const models::Config& engine);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_FUSION_CONFIG_H_
