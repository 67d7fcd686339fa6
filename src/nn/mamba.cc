#include "nn/mamba.h"

#include "ops/elementwise.h"

namespace fusiontree::nn {

void RunMamba(ops::Context& context, const MambaWeights& w, const ops::Rows& rows, const cache::Batch& batch,
              int layer, kernels::Epilogue end, float* y, int64_t stride, uint8_t* row_ok) {
  const int64_t m = rows.m, wide = w.in.panels * kernels::kPanel, channels = w.scan.channels;
  const int64_t narrow = w.x.panels * kernels::kPanel;
  const ops::Context::Scope scope(context);
  float* zxz = context.Take(m * wide);
  float* x = context.Take(m * channels);
  float* dbc = context.Take(m * narrow);
  float* steps = context.Take(m * channels);  // before softplus
  auto pack = [&](const float* from, int64_t from_stride, const ops::Matrix& matrix) {
    return ops::PackRows(context, from, from_stride, m, matrix, ops::TakeRows(context, m, matrix));
  };
  auto probe = [&](const char* op, const float* value, int64_t value_stride) {
    ObservePart(context, layer, op, value, m, value_stride, w.part);
  };
  auto probe_whole = [&](const char* op, const float* value, int64_t columns) {
    ObserveWhole(context, layer, op, value, m, columns, narrow);
  };

  ops::Matmul(context, rows, w.in, kernels::kStore, zxz, wide);
  const float* z = zxz + w.z_column;
  probe("in_proj_x", zxz, wide);
  probe("in_proj_z", z, wide);
  if (w.conv.width > 0) {
    ops::Convolve(context, w.conv, StatesOfBatch(batch, w.conv_state), zxz, wide, x, channels);
  } else {
    ops::Apply(context, kernels::kSilu, zxz, wide, m, channels, x, channels);
  }
  probe("conv", x, channels);

  const ops::Rows x_rows = pack(x, channels, w.x);
  RowParallelLinear(context, x_rows, w.x, kernels::kStore, dbc, narrow);
  float *delta_in = dbc, *b = dbc + w.b_column, *c = dbc + w.c_column;
  probe_whole("x_proj_dt", delta_in, w.rank);
  probe_whole("x_proj_b", b, w.scan.n);
  probe_whole("x_proj_c", c, w.scan.n);
  if (w.dt_norm.weight) {
    ops::NormColumns(context, w.dt_norm, delta_in, narrow, m, row_ok);
    ops::NormColumns(context, w.b_norm, b, narrow, m, row_ok);
    ops::NormColumns(context, w.c_norm, c, narrow, m, row_ok);
    probe_whole("dt_norm", delta_in, w.rank);
    probe_whole("b_norm", b, w.scan.n);
    probe_whole("c_norm", c, w.scan.n);
  }
  const ops::Rows dt_rows = pack(delta_in, narrow, w.dt);
  ops::Matmul(context, dt_rows, w.dt, kernels::kStore, steps, channels);
  probe("dt_proj", steps, channels);
  float* delta = context.TakeOver(steps, m * channels);
  ops::Apply(context, kernels::kSoftplus, steps, channels, m, channels, delta, channels);
  probe("delta", delta, channels);

  float* scanned = context.TakeOver(x, m * channels);
  ops::Scan(context, w.scan, StatesOfBatch(batch, w.scan_state),
            {x, delta, z, channels, channels, wide, b, c, narrow}, scanned, channels);
  context.Drop(steps, [] {});  // made again with delta, which is needed first
  context.Drop(delta, [&context, dt_rows, dt = w.dt, steps, delta, m, channels] {
    ops::MultiplyAgain(context, dt_rows, dt, steps, channels);
    ops::Apply(context, kernels::kSoftplus, steps, channels, m, channels, delta, channels);
  });
  probe("scan", scanned, channels);
  const ops::Rows out_rows = pack(scanned, channels, w.out);
  RowParallelLinear(context, out_rows, w.out, end, y, stride);
}

}  // namespace fusiontree::nn
