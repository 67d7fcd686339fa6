// A plain double-precision model of each family, sharing nothing with the engine below `checkpoint`. It walks
// through the operations once, in the engine's order, and works out each of them twice: from its own
// values, without any rounding (the truth), and, where the engine's values are given, from the engine's
// own input of that operation, with a bound on what the engine's types may cost (the local check). One
// layer's weights are in memory at a time.
//
// Operations in order, with the shape of their value (T rows, all sequences after one another):
//   layer -1: embed [T, H]
//   each layer: those of the family (oracle_decoder.h, oracle_fusion.h, oracle_mamba.h)
//   layer -1: final_norm [T, H]; logits [T, V]
// Cost: about 2 T multiply-adds a weight, twice with local checks; memory 24 bytes a logit.
#ifndef FUSIONTREE_VERIFY_ORACLE_H_
#define FUSIONTREE_VERIFY_ORACLE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "models/config.h"
#include "verify/oracle_math.h"
#include "verify/oracle_tensors.h"

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

struct OracleSizes {
  int64_t vocab, hidden, layers;
};

class Walker;

class Oracle {
 public:
  virtual ~Oracle() = default;
  // Of the family that config.json or the GGUF metadata names. Borrows the checkpoint. `threads` >= 1.
  static base::Result<std::unique_ptr<Oracle>> Open(const checkpoint::Checkpoint* checkpoint, int threads);

  virtual OracleSizes sizes() const = 0;
  // The last operation of each layer: the residual stream after it.
  virtual const char* layer_output() const = 0;
  // One sentence for each field of the config that the engine read differently.
  virtual std::vector<std::string> Differences(const models::Config& engine) const = 0;

  // Every id in range. `engine` null: no local checks.
  base::Status Walk(const std::vector<std::vector<int32_t>>& sequences, const EngineValues& engine,
                    const Precision& precision, const OracleSink& sink) const;

 protected:
  explicit Oracle(int threads) : threads_(threads) {}

  virtual base::Result<OracleMatrix> Embedding() const = 0;  // [V, H]
  virtual base::Result<OracleMatrix> Head() const = 0;       // [V, H]
  virtual base::Result<OracleNorm> FinalNorm() const = 0;    // [H]
  virtual base::Status BeforeLayers(Walker* walker, const std::vector<SequenceRows>& sequences) const;
  // From "stream" to layer_output().
  virtual base::Status WalkLayer(Walker* walker, const std::vector<SequenceRows>& sequences,
                                 int64_t layer) const = 0;

 private:
  int threads_;
};

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_H_
