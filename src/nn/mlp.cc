#include "nn/mlp.h"

namespace fusiontree::nn {

MlpSpace TakeMlpSpace(ops::Context& context, int64_t rows, const MlpWeights& w) {
  return {context.arena().TakeArray<float>(rows * (w.gate_up.panels / 2) * kernels::kPanel),
          ops::TakeRows(context, rows, w.down)};
}

void RunMlp(ops::Context& context, const MlpWeights& w, const MlpSpace& space, const ops::Rows& rows,
            int layer, float* x, int64_t stride) {
  const int64_t width = w.gate_up.panels / 2 * kernels::kPanel;
  ops::Matmul(context, rows, w.gate_up, kernels::kSiluMul, space.act, width);
  ObservePart(context, layer, "mlp_act", space.act, rows.m, width, w.part);
  const ops::Rows packed = ops::PackRows(context, space.act, width, rows.m, w.down, space.act_rows);
  RowParallelLinear(context, packed, w.down, kernels::kAdd, x, stride);
}

}  // namespace fusiontree::nn
