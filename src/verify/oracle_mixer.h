// The Mamba-1 mixer as the oracle reads and computes it, for the families that have one. Operations, with D
// channels, N states and a step of rank R:
//   in_proj_x, in_proj_z [T, D]; conv [T, D] (after silu); x_proj_dt [T, R], x_proj_b, x_proj_c [T, N]; with
//   norms dt_norm, b_norm, c_norm; dt_proj, delta (after softplus), scan (gated) [T, D]
// The scan is given the engine's own x, delta, B, C and z of every position, so that the error of its state
// is that of its recurrence alone.
#ifndef FUSIONTREE_VERIFY_ORACLE_MIXER_H_
#define FUSIONTREE_VERIFY_ORACLE_MIXER_H_

#include <functional>
#include <string>
#include <vector>

#include "verify/oracle_walk.h"

namespace fusiontree::verify {

struct OracleMixer {
  OracleMatrix in_x, in_z;             // [D, H]
  std::vector<float> conv, conv_bias;  // [D, K], empty without; [D] or empty
  OracleMatrix x_dt, x_b, x_c;         // [R, D], [N, D]
  std::vector<OracleNorm> norms;       // of dt, b and c; or empty
  OracleMatrix dt;                     // [D, R] with its bias
  std::vector<float> a_log, d;         // [D, N], [D]
  OracleMatrix out;                    // [H, D]
};

struct OracleMixerShape {
  int64_t hidden = 0, inner = 0, state = 0, kernel = 0, rank = 0;  // H, D, N, K, R
  bool norms = false;
  double eps = 0;
};

// Tensors whose names begin with `prefix`.
base::Result<OracleMixer> ReadMixer(const OracleTensors& tensors, const std::string& prefix,
                                    const OracleMixerShape& shape);

// From `input` to "scan".
base::Status WalkMixer(Walker* walker, const OracleMixer& mixer, const std::vector<SequenceRows>& sequences,
                       int layer, const std::function<Rows(const Side&)>& input);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_MIXER_H_
