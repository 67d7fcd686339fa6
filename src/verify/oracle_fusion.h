// The oracle of FusionTree. Operations, those of branches and switches that the model and the layer have:
//   layer -1: srte [T, H] where one encoding serves all layers
//   each layer: norm_in [T, H]; srte [T, H] of its own; the mixer's (oracle_mixer.h), mamba_out, norm_m;
//     norm_mid; attn_conv; q_proj, k_proj, v_proj, q_rope, k_rope, attention, attn_out, norm_a;
//     align_act, align_wr, align [T, H]; gate_act [T, r], gate [T, H] or [T, 1], fused [T, H];
//     fuse_out [T, H], mlp_act [T, 2H], mlp_out, layer_out [T, H]
#ifndef FUSIONTREE_VERIFY_ORACLE_FUSION_H_
#define FUSIONTREE_VERIFY_ORACLE_FUSION_H_

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "verify/oracle.h"

namespace fusiontree::verify {

base::Result<std::unique_ptr<Oracle>> OpenFusionOracle(const checkpoint::Checkpoint* checkpoint,
                                                       const nlohmann::json& config, int threads);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_FUSION_H_
