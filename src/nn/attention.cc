#include "nn/attention.h"

#include <algorithm>

#include "nn/kv_view.h"

namespace fusiontree::nn {

void RunAttention(ops::Context& context, const AttentionWeights& w, const ops::Rows& rows,
                  const cache::Batch& batch, const ops::RopeAngles& angles, int layer, kernels::Epilogue end,
                  float* x, int64_t stride, uint8_t* row_ok) {
  const int64_t m = rows.m, width = w.qkv.panels * kernels::kPanel, d = w.head_dim;
  const ops::Context::Scope scope(context);
  const int64_t out_stride = ops::PaddedColumns(w.o.k);
  float* qkv = context.Take(m * width);
  float* out = context.Take(m * out_stride);
  float *q = qkv, *k = qkv + w.k_column, *v = qkv + w.v_column;
  auto probe = [&](const char* op, const float* value, const Part& part) {
    ObservePart(context, layer, op, value, m, width, part);
  };

  ops::Matmul(context, rows, w.qkv, kernels::kStore, qkv, width);
  probe("q_proj", q, w.q_part);
  probe("k_proj", k, w.kv_part);
  probe("v_proj", v, w.kv_part);
  if (w.q_norm.weight) {
    ops::NormHeads(context, w.q_norm, q, width, m, w.heads, row_ok);
    ops::NormHeads(context, w.k_norm, k, width, m, w.kv_heads, row_ok);
    probe("q_norm", q, w.q_part);
    probe("k_norm", k, w.kv_part);
  }
  ops::Rope(context, q, width, m, w.heads, angles);
  ops::Rope(context, k, width, m, w.kv_heads, angles);
  probe("q_rope", q, w.q_part);
  probe("k_rope", k, w.kv_part);

  // Columns of heads that a layer has lost.
  if (w.heads * d < w.o.k) std::fill(out, out + m * out_stride, 0.0f);
  int64_t q_column = 0, kv_column = 0;
  for (const HeadSet& set : w.sets) {
    const std::vector<ops::KvSpan> spans =
        SpansOfLayer(batch, set.place, set.shape.kv_heads, set.shape.window);
    ops::SelfAttention(context, set.shape, spans, q + q_column, k + kv_column, v + kv_column, width,
                       out + q_column, out_stride);
    q_column += set.shape.heads * d;
    kv_column += set.shape.kv_heads * d;
  }
  ObservePart(context, layer, "attention", out, m, out_stride, w.q_part);
  const ops::Rows packed = ops::PackRows(context, out, out_stride, m, w.o, ops::TakeRows(context, m, w.o));
  RowParallelLinear(context, packed, w.o, end, x, stride);
}

}  // namespace fusiontree::nn
