// The config as the oracle reads it: its own reading of config.json and of GGUF metadata, so that a wrong
// reading by the engine shows as a difference. It believes what it reads: refusing what is unknown is the
// engine's duty, and the engine has loaded the checkpoint before the oracle looks at it.
#ifndef FUSIONTREE_VERIFY_ORACLE_CONFIG_H_
#define FUSIONTREE_VERIFY_ORACLE_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "models/decoder/config.h"

namespace fusiontree::verify {

struct OracleConfig {
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  double norm_eps = 0;
  std::vector<int64_t> windows;             // per layer, 0: none
  std::vector<double> inverse_frequencies;  // [head_dim / 2], scaling applied
  bool interleaved_qk =
      false;  // q and k rows lie as llama.cpp's converter puts them: rotated pairs side by side
};

base::Result<OracleConfig> ReadOracleConfig(const checkpoint::Checkpoint& checkpoint);

// One sentence for each field that the engine read differently.
std::vector<std::string> ConfigDifferences(const OracleConfig& oracle, const models::DecoderConfig& engine);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_CONFIG_H_
