// Everything that decides the function of a FusionTree model (docs/fusiontree.md).
#ifndef FUSIONTREE_MODELS_FUSIONTREE_CONFIG_H_
#define FUSIONTREE_MODELS_FUSIONTREE_CONFIG_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "models/config.h"

namespace fusiontree::models {

enum class LayerType { kHybrid, kMamba, kAttention, kLocal };
enum class GateKind { kChannel, kToken, kNone };
enum class TimeEncoding { kSincos, kLearnable, kFactorized, kNone };

struct FusionTreeConfig : Config {
  int64_t num_heads = 0;         // n_h
  int64_t num_kv_heads = 0;      // n_kv
  int64_t head_dim = 0;          // d, even
  int64_t global_heads = 0;      // G, the last ones; a multiple of n_h / n_kv
  std::vector<int64_t> windows;  // of the local heads, per layer
  bool pyramidal = false;
  int64_t base_window = 0;  // of pyramidal; 0: the window itself
  double rope_theta = 10000.0;
  int64_t attn_conv_kernel = 4;  // K_a, 0: none
  bool branch_norm = true;
  GateKind gate = GateKind::kChannel;
  int64_t gate_rank = 0;  // r
  bool serial = false;
  std::vector<LayerType> layer_types;
  bool layer_norm = true;  // else RMSNorm
  double norm_eps = 1e-5;
  bool post_norm = false;
  bool aligned = true;
  TimeEncoding srte = TimeEncoding::kSincos;
  int64_t srte_rank = 64;
  bool srte_shared = true;
  int64_t table_positions = 32768;  // max_position_embeddings: length of a learnt table
  int64_t state_size = 16;          // N
  int64_t conv_kernel = 4;          // K, 0: none
  int64_t inner = 0;                // D = expand · H
  int64_t expand = 2;
  int64_t time_step_rank = 0;  // R
  bool ssm_norm = false;
  double dropout = 0.0, drop_branch = 0.0;  // of training only

  // The local heads' window of a layer when "window_size" is this.
  int64_t WindowOf(int64_t layer, int64_t window_size) const;
  int64_t group() const { return num_heads / num_kv_heads; }
  int64_t local_heads() const { return num_heads - global_heads; }
  bool HasMamba(int64_t layer) const {
    return layer_types[static_cast<size_t>(layer)] != LayerType::kAttention;
  }
  bool HasAttention(int64_t layer) const {
    return layer_types[static_cast<size_t>(layer)] != LayerType::kMamba;
  }
  // Heads of the layer: all, or only the local ones.
  int64_t HeadsOf(int64_t layer) const {
    return layer_types[static_cast<size_t>(layer)] == LayerType::kLocal ? local_heads() : num_heads;
  }
  bool Gated(int64_t layer) const {
    return gate != GateKind::kNone && HasMamba(layer) && HasAttention(layer);
  }
  bool LearntTable() const { return srte == TimeEncoding::kLearnable || srte == TimeEncoding::kFactorized; }
  bool AnyMamba() const;
};

// The text of a config.json of "model_type": "fusiontree". An unknown key, a value out of range or an
// impossible combination is an error that names it.
base::Result<FusionTreeConfig> ReadFusionTreeConfig(std::string_view text);

const char* LayerTypeName(LayerType type);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_FUSIONTREE_CONFIG_H_
