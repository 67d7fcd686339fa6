// The oracle of the decoder families (Qwen2, Qwen3, Llama, Mistral). Operations of a layer:
//   input_norm [T, H]; q_proj [T, heads*d], k_proj, v_proj [T, kv*d]; with q/k norms q_norm, k_norm;
//   q_rope, k_rope; attention [T, heads*d]; o_proj [T, H] (the residual stream after it); post_norm [T, H];
//   mlp_act [T, I] = silu(gate) * up; down_proj [T, H] (the residual stream after it)
#ifndef FUSIONTREE_VERIFY_ORACLE_DECODER_H_
#define FUSIONTREE_VERIFY_ORACLE_DECODER_H_

#include <memory>

#include "verify/oracle.h"

namespace fusiontree::verify {

base::Result<std::unique_ptr<Oracle>> OpenDecoderOracle(const checkpoint::Checkpoint* checkpoint,
                                                        int threads);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_DECODER_H_
