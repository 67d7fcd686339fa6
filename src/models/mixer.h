// The tensors of a Mamba mixer, and how they become nn::MambaWeights: shared by the families that have one.
#ifndef FUSIONTREE_MODELS_MIXER_H_
#define FUSIONTREE_MODELS_MIXER_H_

#include <string>
#include <vector>

#include "models/weight_map.h"
#include "models/weight_store.h"
#include "nn/mamba.h"

namespace fusiontree::models {

using OptionalRule = std::vector<TensorRule>;  // one or none

struct MixerShape {
  int64_t hidden = 0, inner = 0, state = 0;  // H, D, N
  int64_t kernel = 0;                        // K, 0: no convolution
  int64_t rank = 0;                          // R
  bool norms = false;                        // of δ, B and C
  bool projection_bias = false, conv_bias = true;
  bool f32_states = true;  // A_log, D and dt_proj.bias are stored in fp32 only
};

struct MixerRules {
  TensorRule in_x, in_z;            // halves of in_proj
  std::vector<TensorRule> in_bias;  // two halves, or none
  OptionalRule conv, conv_bias;
  TensorRule x_dt, x_b, x_c;  // parts of x_proj
  OptionalRule dt_norm, b_norm, c_norm;
  TensorRule dt, dt_bias, a_log, d, out;
  OptionalRule out_bias;
};
// Of tensors whose names begin with `prefix`.
MixerRules MakeMixerRules(const std::string& prefix, const MixerShape& shape);
std::vector<TensorRule> AllOf(const MixerRules& rules);

// The states of a mixer, for the cache layout: the convolution's (if it keeps any), then the scan's.
void AddMixerStates(const MixerShape& shape, int layer, Shard shard, cache::CacheLayout* layout);

struct MixerPlan {  // indices into the store
  size_t in, x, dt, out;
  size_t conv = kNone, conv_bias = kNone, dt_norm = kNone, b_norm = kNone, c_norm = kNone, a, d;
};
base::Result<MixerPlan> AddMixer(const MixerRules& rules, int64_t slices, WeightStore* store);
// After the store is loaded. `first_state`: the number of the mixer's first state in the cache layout.
nn::MambaWeights MakeMixer(const MixerPlan& plan, const MixerShape& shape, const WeightStore& store,
                           Shard shard, float eps, size_t first_state);

// Multiply-adds of a mixer for one token, times two.
double MixerFlops(const MixerShape& shape);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_MIXER_H_
