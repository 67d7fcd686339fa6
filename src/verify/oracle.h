// A plain double-precision model of the Qwen2, Qwen3, Llama and Mistral decoder, sharing nothing with the
// engine below `checkpoint`. It walks through the operations once and works out each of them twice: from its
// own values, without any rounding (the truth), and, where the engine's values are given, from the engine's
// own input of that operation, with a bound on what the engine's types may cost (the local check). One
// layer's weights are in memory at a time.
//
// Operations in order, with the shape of their value (T rows, all sequences after one another):
//   layer -1: embed [T, H]
//   each layer: input_norm [T, H]; q_proj [T, heads*d], k_proj, v_proj [T, kv*d]; with q/k norms q_norm,
//   k_norm;
//     q_rope, k_rope; attention [T, heads*d]; o_proj [T, H] (the residual stream after it); post_norm [T, H];
//     mlp_act [T, I] = silu(gate) * up; down_proj [T, H] (the residual stream after it)
//   layer -1: final_norm [T, H]; logits [T, V]
// Cost: about 2 T multiply-adds a weight, twice with local checks; memory 24 bytes a logit.
#ifndef FUSIONTREE_VERIFY_ORACLE_H_
#define FUSIONTREE_VERIFY_ORACLE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "verify/oracle_config.h"
#include "verify/oracle_math.h"
#include "verify/oracle_weights.h"

namespace fusiontree::verify {

// How the engine's products and cache are typed; decides what the local checks round (table under R9).
struct Precision {
  enum class Products { kAsFile, kF32, kBf16 };
  Products products = Products::kAsFile;
  bool bf16_cache = false;
};

struct OracleStep {
  int layer;  // -1: outside the layers
  std::string_view op;
  const Rows& truth;     // from the oracle's own values
  const Bounded* local;  // from the engine's values, null when none are given
};

// The engine's value of an operation, moved out: it is asked for once. An error names what is missing.
using EngineValues = std::function<base::Result<Rows>(int layer, std::string_view op)>;
using OracleSink = std::function<base::Status(const OracleStep&)>;

class Oracle {
 public:
  // Borrows the checkpoint. `threads` >= 1.
  static base::Result<Oracle> Open(const checkpoint::Checkpoint* checkpoint, int threads);

  const OracleConfig& config() const { return config_; }

  // Every id in range. `engine` null: no local checks.
  base::Status Walk(const std::vector<std::vector<int32_t>>& sequences, const EngineValues& engine,
                    const Precision& precision, const OracleSink& sink) const;

 private:
  Oracle(const checkpoint::Checkpoint* checkpoint, OracleConfig config, int threads)
      : checkpoint_(checkpoint), config_(std::move(config)), threads_(threads) {}

  const checkpoint::Checkpoint* checkpoint_;
  OracleConfig config_;
  int threads_;
};

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_H_
