#include "models/fusiontree/model.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "ops/elementwise.h"
#include "ops/regularise.h"

namespace fusiontree::models {

double FusionTreeModel::FlopsPerToken(int64_t context) const {
  const FusionTreeConfig& c = config();
  const double h = static_cast<double>(c.hidden_size), d = static_cast<double>(c.head_dim),
               r = static_cast<double>(c.gate_rank);
  double flops = 0.0;
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const double parts = c.HasMamba(i) && c.HasAttention(i) ? 2.0 : 1.0;
    if (c.HasMamba(i)) flops += MixerFlops(spec_.mixer());
    if (c.HasAttention(i)) {
      const double heads = static_cast<double>(c.HeadsOf(i)), group = static_cast<double>(c.group());
      flops +=
          2.0 * (h * d * (2.0 * heads + 2.0 * heads / group) + h * static_cast<double>(c.attn_conv_kernel));
      for (const FusionTreeSpec::Heads& set : spec_.HeadsOf(i, Shard())) {
        const int64_t keys = set.window > 0 ? std::min(set.window, context) : context;
        flops += 4.0 * d * static_cast<double>((set.query.end - set.query.begin) * keys);
      }
    }
    if (c.aligned) flops += 2.0 * h * h * (2.0 * parts + 1.0);
    if (c.Gated(i)) flops += 2.0 * h * r * (c.gate == GateKind::kChannel ? 2.0 : 1.0);
    flops += 2.0 * 5.0 * h * h;
  }
  return flops;
}

void FusionTreeModel::EncodeTime(ops::Context& context, const TimeTable& table,
                                 const std::vector<int64_t>& positions, float* out) const {
  const int64_t rows = static_cast<int64_t>(positions.size()), stride = hidden_stride();
  const int64_t hidden = config().hidden_size;
  if (table.rows == nullptr) {
    context.For(rows, 1, 4, [&](int, base::Range share) {
      for (int64_t r = share.begin; r < share.end; ++r) {
        float* row = out + r * stride;
        const double p = static_cast<double>(positions[static_cast<size_t>(r)]);
        for (size_t i = 0; i < time_frequencies_.size(); ++i) {
          row[2 * i] = static_cast<float>(base::Sin(p * time_frequencies_[i]));
          row[2 * i + 1] = static_cast<float>(base::Cos(p * time_frequencies_[i]));
        }
        std::fill(row + hidden, row + stride, 0.0f);
      }
    });
    return;
  }
  const ops::Context::Scope scope(context);
  const bool factored = table.basis.panels > 0;
  const int64_t width = factored ? ops::PaddedColumns(table.columns) : stride;
  float* chosen = factored ? context.Take(rows * width) : out;
  for (const int64_t position : positions) FT_CHECK(position < config().table_positions);
  ops::Gather(context, {table.rows, table.drows, table.columns}, positions, chosen, width);
  if (!factored) return;
  const ops::Rows packed =
      ops::PackRows(context, chosen, width, rows, table.basis, ops::TakeRows(context, rows, table.basis));
  ops::Matmul(context, packed, table.basis, kernels::kStore, out, stride);
}

std::optional<nn::AttentionWeights> FusionTreeModel::DrawnWindow(const ops::Context& context,
                                                                 const nn::AttentionWeights& weights,
                                                                 int64_t layer) const {
  const ops::Regularisation* regularisation = context.regularisation();
  if (regularisation == nullptr || regularisation->window_size == 0) return std::nullopt;
  std::optional<nn::AttentionWeights> drawn = weights;
  for (nn::HeadSet& set : drawn->sets)
    if (set.shape.window > 0) set.shape.window = config().WindowOf(layer, regularisation->window_size);
  return drawn;
}

float* FusionTreeModel::TakeTime(ops::Context& context, int64_t rows) const {
  const int64_t floats = rows * hidden_stride();
  return config().LearntTable() ? context.Take(floats) : context.TakeConstant(floats);
}

void FusionTreeModel::StartLayers(ops::Context& context, Pass* pass) const {
  const FusionTreeConfig& c = config();
  pass->angles = ops::MakeRopeAngles(context, pass->positions.data(), pass->rows(),
                                     inverse_frequencies_.data(), c.head_dim / 2);
  if (c.srte == TimeEncoding::kNone || !c.AnyMamba() || (!c.srte_shared && c.LearntTable())) return;
  pass->time = TakeTime(context, pass->rows());
  EncodeTime(context, time_, pass->positions, pass->time);
  nn::ObserveWhole(context, -1, "srte", pass->time, pass->rows(), c.hidden_size, hidden_stride());
}

const float* FusionTreeModel::TimeOf(ops::Context& context, const Pass& pass, int64_t layer) const {
  if (config().srte == TimeEncoding::kNone || pass.time != nullptr) return pass.time;
  float* own = TakeTime(context, pass.rows());
  EncodeTime(context, layers_[static_cast<size_t>(layer)].time, pass.positions, own);
  nn::ObserveWhole(context, static_cast<int>(layer), "srte", own, pass.rows(), config().hidden_size,
                   hidden_stride());
  return own;
}

void FusionTreeModel::RunLayer(ops::Context& context, const Pass& pass, int64_t index, float* x,
                               uint8_t* row_ok) const {
  const int64_t rows = pass.rows(), stride = hidden_stride(), hidden = config().hidden_size;
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const int number = static_cast<int>(index);
  const ops::Context::Scope scope(context);
  const auto row_array = [&] { return context.Take(rows * stride); };
  float *u = row_array(), *in = row_array(), *mamba = row_array(), *attention = row_array();
  auto probe = [&](const char* op, const float* value) {
    nn::ObserveWhole(context, number, op, value, rows, hidden, stride);
  };
  const auto pack = [&](const float* from, const ops::Matrix& matrix) {
    return ops::PackRows(context, from, stride, rows, matrix, ops::TakeRows(context, rows, matrix));
  };
  const auto branch_norm = [&](const ops::Norm& norm, const char* op, float* branch) {
    if (norm.weight == nullptr) return;
    ops::RunNorm(context, norm, branch, stride, rows, branch, row_ok);
    probe(op, branch);
  };
  const std::vector<ops::Kept> kept =
      layer.mamba && layer.attention ? ops::KeptBranches(context, number) : std::vector<ops::Kept>();
  std::vector<std::pair<float*, std::function<void()>>> normed;  // with what writes it again
  if (layer.norm_in.weight) {
    normed.emplace_back(u, ops::RunNorm(context, layer.norm_in, x, stride, rows, u, row_ok));
    probe("norm_in", u);
  }
  if (layer.mamba) {
    const float* time = TimeOf(context, pass, index);
    const auto add_time = [&context, u, time, stride, rows, in] {
      ops::Add(context, u, time, stride, rows, in);
    };
    if (time != nullptr) add_time();
    nn::RunMamba(context, layer.mixer, pack(time ? in : u, layer.mixer.in), pass.batch, number,
                 kernels::kStore, mamba, stride, row_ok);
    if (time != nullptr) context.Drop(in, add_time);
    probe("mamba_out", mamba);
    branch_norm(layer.norm_m, "norm_m", mamba);
    ops::DropBranch(context, kept, ops::Kept::kAttention, mamba, stride);
  }
  if (layer.attention) {
    if (layer.norm_mid.weight) {  // serial: after the mixer
      const float* before = x;
      if (layer.mamba) {
        in = context.TakeOver(in, rows * stride);
        ops::Add(context, x, mamba, stride, rows, in);
        before = in;
      }
      u = context.TakeOver(u, rows * stride);
      normed.emplace_back(u, ops::RunNorm(context, layer.norm_mid, before, stride, rows, u, row_ok));
      probe("norm_mid", u);
    }
    const float* seen = u;
    if (layer.attn_conv.width > 0) {
      in = context.TakeOver(in, rows * stride);
      ops::Convolve(context, layer.attn_conv, nn::StatesOfBatch(pass.batch, layer.attn_conv_state), u, stride,
                    in, stride);
      probe("attn_conv", in);
      seen = in;
    }
    const std::optional<nn::AttentionWeights> drawn = DrawnWindow(context, layer.attn, index);
    nn::RunAttention(context, drawn ? *drawn : layer.attn, pack(seen, layer.attn.qkv), pass.batch,
                     pass.angles, number, kernels::kStore, attention, stride, row_ok);
    probe("attn_out", attention);
    branch_norm(layer.norm_a, "norm_a", attention);
    ops::Dropout(context, number, ops::Purpose::kAttention, attention, stride, rows, hidden);
    ops::DropBranch(context, kept, ops::Kept::kMamba, attention, stride);
  }
  for (auto& [array, remake] : normed) context.Drop(array, std::move(remake));
  nn::RunFusion(context, layer.fusion, layer.mamba ? mamba : nullptr, layer.attention ? attention : nullptr,
                rows, number, x, stride);
  if (layer.norm_out.weight) ops::RunNorm(context, layer.norm_out, x, stride, rows, x, row_ok);
  probe("layer_out", x);
}

}  // namespace fusiontree::models
