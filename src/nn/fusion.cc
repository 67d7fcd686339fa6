#include "nn/fusion.h"

#include <algorithm>

#include "base/check.h"
#include "ops/elementwise.h"
#include "ops/regularise.h"

namespace fusiontree::nn {
namespace {

int64_t Width(const ops::Matrix& matrix) { return matrix.panels * kernels::kPanel; }

struct Activation {
  float *before, *after;  // [m, width]
  int64_t width;
  kernels::Function function;
};

}  // namespace

void RunFusion(ops::Context& context, const FusionWeights& w, const float* mamba, const float* attention,
               int64_t m, int layer, float* x, int64_t stride) {
  auto probe = [&](const char* op, const float* value, int64_t columns) {
    ObserveWhole(context, layer, op, value, m, columns, stride);
  };
  const float* any = mamba ? mamba : attention;
  const ops::Branches branches = {mamba, attention, stride};
  const ops::Context::Scope scope(context);
  float* align = context.Take(m * stride);
  // f of what `matrix` makes of `from`. A tape keeps only what f needs; the other is made again.
  auto activate = [&](const ops::Rows& from, const ops::Matrix& matrix, kernels::Function f) {
    const int64_t width = Width(matrix);
    float* before = context.Take(m * width);
    ops::Matmul(context, from, matrix, kernels::kStore, before, width);
    float* after = context.TakeOver(before, m * width);
    ops::Apply(context, f, before, width, m, width, after, width);
    return Activation{before, after, width, f};
  };
  auto drop = [&context, m](const Activation& a) {
    context.Drop(a.after, [&context, m, a] {
      ops::Apply(context, a.function, a.before, a.width, m, a.width, a.after, a.width);
    });
  };
  auto pack = [&](const float* from, int64_t from_stride, const ops::Matrix& matrix) {
    return ops::PackRows(context, from, from_stride, m, matrix, ops::TakeRows(context, m, matrix));
  };
  FT_CHECK(any != nullptr && stride == ops::PaddedColumns(w.hidden));

  if (w.aligned) {
    const int64_t width = ops::PaddedColumns(w.w1.k);
    float* joined = context.Take(m * width);
    const auto join = [&context, branches, two = w.w1.k == 2 * w.hidden, m, n = w.hidden, joined, width] {
      ops::Join(context, branches, two, m, n, joined, width);
    };
    join();
    const ops::Rows both = pack(joined, width, w.w1);
    const Activation inner = activate(both, w.w1, kernels::kGelu);
    ObservePart(context, layer, "align_act", inner.after, m, inner.width, w.w1_part);
    const bool alike = w.wr.kind == w.w1.kind;  // else rounded otherwise
    ops::Matmul(context, alike ? both : pack(joined, width, w.wr), w.wr, kernels::kStore, align, stride);
    context.Drop(joined, join);
    probe("align_wr", align, w.hidden);
    RowParallelLinear(context, pack(inner.after, inner.width, w.w2), w.w2, kernels::kAdd, align, stride);
    drop(inner);
  } else {
    // Half of what is left: the other branch is zero.
    ops::Average(context, branches, m, align);
  }
  probe("align", align, w.hidden);

  const float* f = any;
  std::function<void()> remix;
  if (mamba && attention) {
    const std::vector<ops::Kept> kept = ops::KeptBranches(context, layer);
    float* gate = context.TakeLasting(m * stride);  // the gates' losses read it
    float* mixed = context.Take(m * stride);
    if (w.gated) {
      const Activation inner = activate(pack(align, stride, w.gu), w.gu, kernels::kTanh);
      ObserveWhole(context, layer, "gate_act", inner.after, m, w.gd.k, inner.width);
      const int64_t gates = w.one_gate ? 1 : w.hidden, width = Width(w.gd);
      float* before = context.tape() != nullptr ? context.Take(m * width) : gate;
      const int64_t before_stride = context.tape() != nullptr ? width : stride;
      const ops::Rows packed = pack(inner.after, inner.width, w.gd);
      ops::Matmul(context, packed, w.gd, kernels::kStore, before, before_stride);
      ops::Apply(context, kernels::kSigmoid, before, before_stride, m, gates, gate, stride);
      if (before != gate) ops::DropProduct(context, packed, w.gd, before, before_stride);
      probe("gate", gate, gates);
      ops::ForceGates(context, kept, gate, stride, gates);
    } else if (!kept.empty()) {
      for (int64_t r = 0; r < m; ++r) gate[r * stride] = 0.5f;
      ops::ForceGates(context, kept, gate, stride, 1);
    }
    const auto mix = [&context, gate = w.gated || !kept.empty() ? gate : nullptr, stride,
                      one = !w.gated || w.one_gate, branches, m, n = w.hidden,
                      mixed] { ops::Mix(context, gate, stride, one, branches, m, n, mixed, stride); };
    mix();
    f = mixed;
    remix = mix;
    probe("fused", f, w.hidden);
  }
  ops::Matmul(context, pack(f, stride, w.wf), w.wf, kernels::kAdd, x, stride);
  if (remix) context.Drop(const_cast<float*>(f), remix);
  probe("fuse_out", x, w.hidden);

  const Activation inner = activate(pack(align, stride, w.m1), w.m1, kernels::kGelu);
  ObservePart(context, layer, "mlp_act", inner.after, m, inner.width, w.m1_part);
  const ops::Regularisation* regularisation = context.regularisation();
  if (regularisation != nullptr && regularisation->dropout > 0.0) {
    float* out = context.Take(m * stride);
    RowParallelLinear(context, pack(inner.after, inner.width, w.m2), w.m2, kernels::kStore, out, stride);
    ops::Dropout(context, layer, ops::Purpose::kMlp, out, stride, m, w.hidden);
    ops::AddTo(context, out, stride, m, x);
  } else {
    RowParallelLinear(context, pack(inner.after, inner.width, w.m2), w.m2, kernels::kAdd, x, stride);
  }
  drop(inner);
  probe("mlp_out", x, w.hidden);
}

}  // namespace fusiontree::nn
