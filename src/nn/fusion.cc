#include "nn/fusion.h"

#include <algorithm>

#include "base/check.h"
#include "ops/elementwise.h"
#include "ops/regularise.h"

namespace fusiontree::nn {
namespace {

int64_t Width(const ops::Matrix& matrix) { return matrix.panels * kernels::kPanel; }

}  // namespace

void RunFusion(ops::Context& context, const FusionWeights& w, const float* mamba, const float* attention,
               int64_t m, int layer, float* x, int64_t stride) {
  const int64_t inner_stride = std::max({Width(w.w1), Width(w.m1), Width(w.gu)});
  auto probe = [&](const char* op, const float* value, int64_t columns) {
    ObserveWhole(context, layer, op, value, m, columns, stride);
  };
  const float* any = mamba ? mamba : attention;
  const ops::Branches branches = {mamba, attention, stride};
  const ops::Context::Scope scope(context);
  float* align = context.Take(m * stride);
  float* inner = context.Take(m * inner_stride);
  auto pack = [&](const float* from, int64_t from_stride, const ops::Matrix& matrix) {
    return ops::PackRows(context, from, from_stride, m, matrix, ops::TakeRows(context, m, matrix));
  };
  FT_CHECK(any != nullptr && stride == ops::PaddedColumns(w.hidden));

  if (w.aligned) {
    const int64_t width = ops::PaddedColumns(w.w1.k);
    float* joined = context.Take(m * width);
    ops::Join(context, branches, w.w1.k == 2 * w.hidden, m, w.hidden, joined, width);
    const ops::Rows both = pack(joined, width, w.w1);
    ops::Matmul(context, both, w.w1, kernels::kStore, inner, inner_stride);
    ops::Apply(context, kernels::kGelu, inner, inner_stride, m, Width(w.w1));
    ObservePart(context, layer, "align_act", inner, m, inner_stride, w.w1_part);
    const bool alike = w.wr.kind == w.w1.kind;  // else rounded otherwise
    ops::Matmul(context, alike ? both : pack(joined, width, w.wr), w.wr, kernels::kStore, align, stride);
    probe("align_wr", align, w.hidden);
    RowParallelLinear(context, pack(inner, inner_stride, w.w2), w.w2, kernels::kAdd, align, stride);
  } else {
    // Half of what is left: the other branch is zero.
    ops::Average(context, branches, m, align);
  }
  probe("align", align, w.hidden);

  const float* f = any;
  if (mamba && attention) {
    const std::vector<ops::Kept> kept = ops::KeptBranches(context, layer);
    float* gate = context.TakeLasting(m * stride);  // the gates' losses read it
    float* mixed = context.Take(m * stride);
    if (w.gated) {
      inner = context.TakeOver(inner, m * inner_stride);
      ops::Matmul(context, pack(align, stride, w.gu), w.gu, kernels::kStore, inner, inner_stride);
      ops::Apply(context, kernels::kTanh, inner, inner_stride, m, Width(w.gu));
      ObserveWhole(context, layer, "gate_act", inner, m, w.gd.k, inner_stride);
      ops::Matmul(context, pack(inner, inner_stride, w.gd), w.gd, kernels::kStore, gate, stride);
      const int64_t gates = w.one_gate ? 1 : w.hidden;
      ops::Apply(context, kernels::kSigmoid, gate, stride, m, gates);
      probe("gate", gate, gates);
      ops::ForceGates(context, kept, gate, stride, gates);
    } else if (!kept.empty()) {
      for (int64_t r = 0; r < m; ++r) gate[r * stride] = 0.5f;
      ops::ForceGates(context, kept, gate, stride, 1);
    }
    ops::Mix(context, w.gated || !kept.empty() ? gate : nullptr, stride, !w.gated || w.one_gate, branches, m,
             w.hidden, mixed, stride);
    f = mixed;
    probe("fused", f, w.hidden);
  }
  ops::Matmul(context, pack(f, stride, w.wf), w.wf, kernels::kAdd, x, stride);
  probe("fuse_out", x, w.hidden);

  inner = context.TakeOver(inner, m * inner_stride);
  ops::Matmul(context, pack(align, stride, w.m1), w.m1, kernels::kStore, inner, inner_stride);
  ops::Apply(context, kernels::kGelu, inner, inner_stride, m, Width(w.m1));
  ObservePart(context, layer, "mlp_act", inner, m, inner_stride, w.m1_part);
  const ops::Regularisation* regularisation = context.regularisation();
  if (regularisation != nullptr && regularisation->dropout > 0.0) {
    float* out = context.Take(m * stride);
    RowParallelLinear(context, pack(inner, inner_stride, w.m2), w.m2, kernels::kStore, out, stride);
    ops::Dropout(context, layer, ops::Purpose::kMlp, out, stride, m, w.hidden);
    ops::AddTo(context, out, stride, m, x);
  } else {
    RowParallelLinear(context, pack(inner, inner_stride, w.m2), w.m2, kernels::kAdd, x, stride);
  }
  probe("mlp_out", x, w.hidden);
}

}  // namespace fusiontree::nn
