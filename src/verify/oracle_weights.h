// The oracle's own way to a decoder's weights: its own names of Hugging Face and of GGUF tensors. One layer
// is in memory at a time.
#ifndef FUSIONTREE_VERIFY_ORACLE_WEIGHTS_H_
#define FUSIONTREE_VERIFY_ORACLE_WEIGHTS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "verify/oracle_config.h"
#include "verify/oracle_tensors.h"

namespace fusiontree::verify {

struct OracleLayer {
  std::vector<float> input_norm, post_norm;  // [H]
  std::vector<float> q_norm, k_norm;         // [d], empty without q/k norms
  OracleMatrix q, k, v;                      // [heads*d | kv*d, H], rows in the order of Hugging Face
  OracleMatrix o;                            // [H, heads*d]
  OracleMatrix gate, up;                     // [I, H]
  OracleMatrix down;                         // [H, I]
};

class OracleWeights {
 public:
  // Borrows both, which outlive it.
  OracleWeights(const checkpoint::Checkpoint* checkpoint, const OracleConfig* config, int threads)
      : checkpoint_(checkpoint), config_(config), tensors_(checkpoint, threads) {}

  base::Result<OracleLayer> Layer(int64_t layer) const;
  base::Result<OracleMatrix> Embedding() const;        // [V, H]
  base::Result<OracleMatrix> Head() const;             // [V, H]; the embedding where the file has none
  base::Result<std::vector<float>> FinalNorm() const;  // [H]

 private:
  bool gguf() const { return checkpoint_->format() == checkpoint::Checkpoint::Format::kGguf; }

  const checkpoint::Checkpoint* checkpoint_;
  const OracleConfig* config_;
  OracleTensors tensors_;
};

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_WEIGHTS_H_
