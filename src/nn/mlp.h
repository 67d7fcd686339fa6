// The gated MLP: x += W_down · (silu(W_gate n + b_gate) * (W_up n + b_up)) + b_down.
#ifndef FUSIONTREE_NN_MLP_H_
#define FUSIONTREE_NN_MLP_H_

#include <cstdint>

#include "nn/parallel_linear.h"
#include "ops/linear.h"

namespace fusiontree::nn {

struct MlpWeights {
  ops::Matrix gate_up;  // panels alternate: gate 0, up 0, gate 1, ...
  ops::Matrix down;
  Part part;  // of the intermediate width that this rank holds
};

// rows: packed normed rows; x [T, stride]: the residual stream, added to.
void RunMlp(ops::Context& context, const MlpWeights& weights, const ops::Rows& rows, int layer, float* x,
            int64_t stride);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_MLP_H_
