// Names, shapes and sharding of a FusionTree model's tensors.
#ifndef FUSIONTREE_MODELS_FUSIONTREE_WEIGHT_MAP_H_
#define FUSIONTREE_MODELS_FUSIONTREE_WEIGHT_MAP_H_

#include <vector>

#include "models/fusiontree/config.h"
#include "models/mixer.h"
#include "models/weight_map.h"

namespace fusiontree::models {

struct NormRules {
  OptionalRule weight, bias;
};

struct FusionLayerRules {
  NormRules norm_in, norm_mid, norm_m, norm_a, norm_out;
  OptionalRule srte_table, srte_basis;  // of this layer's own
  std::vector<MixerRules> mixer;        // one or none
  OptionalRule attn_conv, q, k, v, o;   // all of them, or none (attn_conv: also none of width 0)
  OptionalRule w1, w1_bias, w2, w2_bias, wr, wr_bias;
  OptionalRule gu, gd;
  TensorRule wf, wf_bias, m1, m1_bias, m2, m2_bias;
};

struct FusionTreeRules {
  TensorRule embedding;
  OptionalRule head;
  NormRules final_norm;
  OptionalRule srte_table, srte_basis;  // shared
  std::vector<FusionLayerRules> layers;
  std::vector<TensorRule> All() const;  // every rule once
};

FusionTreeRules MakeFusionTreeRules(const FusionTreeConfig& config);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_FUSIONTREE_WEIGHT_MAP_H_
