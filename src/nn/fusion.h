// How FusionTree joins its branches h_m (Mamba) and h_a (attention), each [T, H]:
//   a = W2 · gelu(W1 · [h_m ; h_a] + b1) + b2 + Wr · [h_m ; h_a] + br      or (h_m + h_a) / 2
//   g = sigmoid(Gd · tanh(Gu · a)), f = g h_m + (1 - g) h_a
//   x += Wf · f + bf;  x += M2 · gelu(M1 · a + c1) + c2
// A branch that is not there is zero, its half of W1 and Wr too, and the gate is the other's. The halves of a
// concatenated input are slices of R2, so that one of zeros adds exactly nothing.
#ifndef FUSIONTREE_NN_FUSION_H_
#define FUSIONTREE_NN_FUSION_H_

#include <cstdint>

#include "nn/parallel_linear.h"
#include "ops/linear.h"

namespace fusiontree::nn {

struct FusionWeights {
  bool aligned = false;
  ops::Matrix w1, w2, wr;  // aligned only
  bool gated = false, one_gate = false;
  ops::Matrix gu, gd;  // gated only
  ops::Matrix wf, m1, m2;
  int64_t hidden = 0;  // H
  Part w1_part, m1_part;
};

// mamba, attention: [T, stride] or null where the layer has no such branch (not both); x [T, stride]: the
// residual stream.
void RunFusion(ops::Context& context, const FusionWeights& weights, const float* mamba,
               const float* attention, int64_t m, int layer, float* x, int64_t stride);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_FUSION_H_
