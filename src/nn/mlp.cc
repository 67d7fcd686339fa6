#include "nn/mlp.h"

namespace fusiontree::nn {

void RunMlp(ops::Context& context, const MlpWeights& w, const ops::Rows& rows, int layer, float* x,
            int64_t stride) {
  const tensor::Arena::Scope scope(context.arena());
  const int64_t width = w.gate_up.panels / 2 * kernels::kPanel;
  float* act = context.arena().TakeArray<float>(rows.m * width);
  ops::Matmul(context, rows, w.gate_up, kernels::kSiluMul, act, width);
  ObservePart(context, layer, "mlp_act", act, rows.m, width, w.part);
  const ops::Rows packed =
      ops::PackRows(context, act, width, rows.m, w.down, ops::TakeRows(context, rows.m, w.down));
  RowParallelLinear(context, packed, w.down, kernels::kAdd, x, stride);
}

}  // namespace fusiontree::nn
