// Causal attention of a ragged batch over paged keys and values (R4 of docs/numerics.md), and what prepares
// it.
//
// Shapes: T rows of the batch, n_h query heads, n_kv KV heads, d head size.
// Scores are held for one tile of at most 64 rows by 64 keys, never T×T. Cost: 4·d flops a visible (query
// head, key) pair; keys and values are read once per tile of queries. The gradients are in
// attention_backward.cc.
#ifndef FUSIONTREE_OPS_ATTENTION_H_
#define FUSIONTREE_OPS_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace fusiontree::ops {

// cos and sin of every row's angles, [T, d/2] each: angle i of position p is fp32(p) * inverse_frequency[i]
// in fp32, its cos and sin are computed in double and rounded once.
struct RopeAngles {
  const float* cos;
  const float* sin;
  int64_t half;
};
RopeAngles MakeRopeAngles(Context& context, const int64_t* positions, int64_t m,
                          const float* inverse_frequency, int64_t half);

// Rotates `heads` heads of each row in place: x [m, stride], heads side by side.
void Rope(Context& context, float* x, int64_t stride, int64_t m, int64_t heads, const RopeAngles& angles);

// One span of the batch as one layer sees it: blocks[kv_head][b - first_block] is the KV block of positions
// [64b, 64b + 64), null where no row of the span can see it.
struct KvSpan {
  int64_t first_row;
  int64_t count;
  int64_t first_position;
  int64_t
      first_block;  // at most the split point (a multiple of kSplitKeys) before the first key that a row sees
  std::vector<std::vector<void*>> blocks;
};

// The heads are those of this rank; its query head h uses its KV head (first_query + h) / group.
struct AttentionShape {
  kernels::AttentionKind kind;
  int64_t heads, kv_heads, head_dim;
  int64_t window;           // 0: sees all
  int64_t group;            // query heads of the whole model that share a KV head
  int64_t first_query = 0;  // place of query head 0 among those of KV head 0

  float scale() const { return static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(head_dim))); }
  // Query heads [begin, end) of this rank that read its KV head `kv`.
  base::Range HeadsOf(int64_t kv) const {
    const int64_t begin = kv * group - first_query, end = begin + group;
    return {begin > 0 ? begin : 0, end < heads ? end : heads};
  }
};

// Stores k, v [T, stride] (heads side by side) at the spans' positions, rounded to the cache type.
void WriteKv(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans, const float* k,
             const float* v, int64_t stride);

// What a backward needs of its forward, [T, heads] each: a row's largest scaled score and 1 / sum of
// exp(score - max). Null where nobody will ask (inference).
struct AttentionStatistics {
  float* max = nullptr;
  float* inverse_sum = nullptr;
};

// out [T, out_stride] = softmax(q kᵀ / sqrt(d)) v per head. All keys up to each row's own are already
// written.
void Attention(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans,
               const float* q, int64_t q_stride, float* out, int64_t out_stride,
               const AttentionStatistics& statistics = {});

// The gradients of q (rotated) and of the spans' own k and v rows (rotated; as WriteKv was given them), from
// those of `out`, which is the forward's with its statistics. dq, dk, dv are overwritten, the columns of the
// heads alone; they overlap nothing. The spans still hold every key that a row sees; keys before a span's
// first position get no gradient. Scores are computed again, one tile of 64 x 64 at a time.
//
// R7, R10: a thread takes a KV head of a span, or one split (kSplitKeys) of its keys; dk and dv add over
// query heads, then queries, ascending; dq adds keys ascending within a split, then splits ascending, each
// split's part starting from nothing: the same bits on any number of threads. Cost: 10·d flops a visible
// (query head, key) pair. Memory, from the scratch arena until the return: T·heads floats, and T·heads·d for
// each split after a span's first whose keys so many rows see.
void AttentionBackward(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans,
                       const float* q, int64_t q_stride, const AttentionStatistics& statistics,
                       const float* out, int64_t out_stride, const float* dout, int64_t dout_stride,
                       float* dq, int64_t dq_stride, float* dk, float* dv, int64_t kv_stride);

// WriteKv and Attention of the rows' own q, k and v, [T, stride] each, rotated.
void SelfAttention(Context& context, const AttentionShape& shape, const std::vector<KvSpan>& spans,
                   const float* q, const float* k, const float* v, int64_t stride, float* out,
                   int64_t out_stride);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_ATTENTION_H_
