// Grouped-query self-attention with rotary positions, from the packed normed rows:
// y = W_o · attention(rope(norm(W_q n + b_q)), rope(norm(W_k n + b_k)), W_v n + b_v) + b_o.
#ifndef FUSIONTREE_NN_ATTENTION_H_
#define FUSIONTREE_NN_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "cache/batch.h"
#include "nn/parallel_linear.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace fusiontree::nn {

// Heads that see the same window, and where their keys and values lie. They follow one another.
struct HeadSet {
  ops::AttentionShape shape;
  cache::CacheLayout::Place place;
};

struct AttentionWeights {
  ops::Matrix qkv;                                // stacked: q at column 0, then k and v at the columns below
  int64_t heads = 0, kv_heads = 0, head_dim = 0;  // of this rank
  int64_t k_column = 0, v_column = 0;
  ops::Matrix o;
  ops::Norm q_norm, k_norm;   // of each head, or none
  std::vector<HeadSet> sets;  // in the order of the heads
  Part q_part, kv_part;       // this rank's heads in the whole model, in columns
};

// rows: packed normed rows of `batch`; x [T, stride]: the result (kStore), or the residual stream that it is
// added to (kAdd). `layer` is for the probe.
void RunAttention(ops::Context& context, const AttentionWeights& weights, const ops::Rows& rows,
                  const cache::Batch& batch, const ops::RopeAngles& angles, int layer, kernels::Epilogue end,
                  float* x, int64_t stride, uint8_t* row_ok);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_ATTENTION_H_
