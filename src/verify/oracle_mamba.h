// The oracle of Hugging Face's Mamba. Operations of a layer: norm_in [T, H]; the mixer's (oracle_mixer.h);
// layer_out [T, H] = the residual stream + out_proj of the scan.
#ifndef FUSIONTREE_VERIFY_ORACLE_MAMBA_H_
#define FUSIONTREE_VERIFY_ORACLE_MAMBA_H_

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "verify/oracle.h"

namespace fusiontree::verify {

base::Result<std::unique_ptr<Oracle>> OpenMambaOracle(const checkpoint::Checkpoint* checkpoint,
                                                      const nlohmann::json& config, int threads);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_MAMBA_H_
