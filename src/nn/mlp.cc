#include "nn/mlp.h"

#include "ops/elementwise.h"

namespace fusiontree::nn {

void RunMlp(ops::Context& context, const MlpWeights& w, const ops::Rows& rows, int layer, float* x,
            int64_t stride) {
  const ops::Context::Scope scope(context);
  const int64_t width = w.gate_up.panels / 2 * kernels::kPanel;
  float* act = context.Take(rows.m * width);
  const std::function<void()> remake = ops::GatedMatmul(context, rows, w.gate_up, act, width);
  ObservePart(context, layer, "mlp_act", act, rows.m, width, w.part);
  const ops::Rows packed =
      ops::PackRows(context, act, width, rows.m, w.down, ops::TakeRows(context, rows.m, w.down));
  RowParallelLinear(context, packed, w.down, kernels::kAdd, x, stride);
  context.Drop(act, remake);
}

}  // namespace fusiontree::nn
