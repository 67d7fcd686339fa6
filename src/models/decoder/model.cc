#include "models/decoder/model.h"

#include <algorithm>

#include "models/decoder/family.h"
#include "models/decoder/weight_map.h"

namespace fusiontree::models {

struct DecoderModel::Plan {
  size_t input_norm, post_norm, q_norm = 0, k_norm = 0;
  size_t qkv, o, gate_up, down;
};

base::Result<std::unique_ptr<Model>> DecoderModel::Load(const checkpoint::Checkpoint& checkpoint,
                                                        const DecoderSpec& spec, const ModelOptions& options,
                                                        ops::Context& context) {
  FT_ASSIGN_OR_RETURN(const Shard shard, ShardOf(checkpoint, spec.config().reduction_slices, context));
  std::unique_ptr<DecoderModel> model(new DecoderModel(checkpoint, spec, options, context.kernels(), shard));
  FT_RETURN_IF_ERROR(model->Build(checkpoint, options, context));
  return std::unique_ptr<Model>(std::move(model));
}

base::Result<DecoderModel::Plan> DecoderModel::AddLayer(const LayerRules& r) {
  const int64_t slices = config().reduction_slices;
  Plan plan{};
  FT_ASSIGN_OR_RETURN(plan.input_norm, store_.AddVector(r.input_norm));
  FT_ASSIGN_OR_RETURN(plan.qkv,
                      store_.AddMatrix({r.q, r.k, r.v}, r.qkv_bias, WeightStore::Stack::kInOrder, 1));
  if (!r.qk_norm.empty()) {
    FT_ASSIGN_OR_RETURN(plan.q_norm, store_.AddVector(r.qk_norm[0]));
    FT_ASSIGN_OR_RETURN(plan.k_norm, store_.AddVector(r.qk_norm[1]));
  }
  FT_ASSIGN_OR_RETURN(plan.o, store_.AddMatrix({r.o}, r.o_bias, WeightStore::Stack::kInOrder, slices));
  FT_ASSIGN_OR_RETURN(plan.post_norm, store_.AddVector(r.post_norm));
  FT_ASSIGN_OR_RETURN(plan.gate_up,
                      store_.AddMatrix({r.gate, r.up}, r.gate_up_bias, WeightStore::Stack::kAlternate, 1));
  FT_ASSIGN_OR_RETURN(plan.down,
                      store_.AddMatrix({r.down}, r.down_bias, WeightStore::Stack::kInOrder, slices));
  return plan;
}

base::Status DecoderModel::Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                                 ops::Context& context) {
  const bool gguf = checkpoint.format() == checkpoint::Checkpoint::Format::kGguf;
  const DecoderRules rules = RulesOf(checkpoint.format(), config());
  std::vector<Plan> plans;
  const Outer outer{.embedding = rules.embedding,
                    .head = rules.head,
                    .norm = rules.final_norm,
                    .norm_bias = {},
                    .eps = config().norm_eps,
                    .layer_norm = false,
                    .tied_copy = gguf ? "" : "lm_head.weight",
                    .also_known = {"rope_freqs.weight"}};
  FT_RETURN_IF_ERROR(LoadWeights(checkpoint, spec_, outer, options, context, [&]() -> base::Status {
    for (const LayerRules& layer : rules.layers) {
      FT_ASSIGN_OR_RETURN(const Plan plan, AddLayer(layer));
      plans.push_back(plan);
    }
    return base::OkStatus();
  }));
  inverse_frequencies_ = InverseFrequencies(config());
  for (int64_t i = 0; i < config().num_layers; ++i)
    layers_.push_back(MakeLayer(plans[static_cast<size_t>(i)], i));
  return base::OkStatus();
}

DecoderModel::Layer DecoderModel::MakeLayer(const Plan& plan, int64_t index) const {
  const DecoderConfig& c = config();
  const HeadCounts heads = spec_.heads();
  const float eps = static_cast<float>(c.norm_eps);
  Layer layer{};
  layer.input_norm = store_.MakeNorm(plan.input_norm, eps);
  layer.post_norm = store_.MakeNorm(plan.post_norm, eps);
  nn::AttentionWeights& a = layer.attention;
  a.qkv = store_.matrix(plan.qkv);
  a.o = store_.matrix(plan.o);
  if (c.qk_norm) {
    a.q_norm = store_.MakeNorm(plan.q_norm, eps);
    a.k_norm = store_.MakeNorm(plan.k_norm, eps);
  }
  const int64_t d = c.head_dim, group = c.num_heads / c.num_kv_heads;
  const int64_t window = c.windows[static_cast<size_t>(index)];
  const base::Range q = QueryHeads(heads, shard_), kv = KvHeads(heads, shard_);
  a.heads = q.end - q.begin;
  a.kv_heads = kv.end - kv.begin;
  a.head_dim = d;
  a.k_column = store_.PartColumn(plan.qkv, 1);
  a.v_column = store_.PartColumn(plan.qkv, 2);
  a.q_part = {{q.begin * d, q.end * d}, c.num_heads * d};
  a.kv_part = {{kv.begin * d, kv.end * d}, c.num_kv_heads * d};
  a.sets = {{{attention_kind_, a.heads, a.kv_heads, d, window, group, q.begin % group},
             layout_.GroupOf(static_cast<int>(index), window)}};
  const int64_t width = c.intermediate_size / shard_.degree;
  layer.mlp = {store_.matrix(plan.gate_up),
               store_.matrix(plan.down),
               {{shard_.rank * width, (shard_.rank + 1) * width}, c.intermediate_size}};
  return layer;
}

double DecoderModel::FlopsPerToken(int64_t context) const {
  const DecoderConfig& c = config();
  const double q = static_cast<double>(c.num_heads * c.head_dim),
               kv = static_cast<double>(c.num_kv_heads * c.head_dim);
  const double h = static_cast<double>(c.hidden_size), i = static_cast<double>(c.intermediate_size);
  double flops = 0.0;
  for (int64_t window : c.windows) {
    const double keys = static_cast<double>(window > 0 ? std::min(window, context) : context);
    flops += 2.0 * (h * (q + 2.0 * kv) + q * h + 3.0 * h * i) + 4.0 * q * keys;
  }
  return flops;
}

void DecoderModel::StartLayers(ops::Context& context, Pass* pass) const {
  pass->angles = ops::MakeRopeAngles(context, pass->positions.data(), pass->rows(),
                                     inverse_frequencies_.data(), config().head_dim / 2);
}

void DecoderModel::RunLayer(ops::Context& context, const Pass& pass, int64_t index, float* x,
                            uint8_t* row_ok) const {
  const int64_t rows = pass.rows(), stride = hidden_stride(), hidden = config().hidden_size;
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const int number = static_cast<int>(index);
  auto probe = [&](const char* op, const float* value) {
    nn::ObserveWhole(context, number, op, value, rows, hidden, stride);
  };
  const ops::Context::Scope scope(context);
  float* normed = context.probe() ? context.TakeConstant(rows * stride) : nullptr;
  auto norm = [&](const ops::Norm& of, const ops::Matrix& matrix) {
    return ops::NormRows(context, of, x, stride, rows, matrix, ops::TakeRows(context, rows, matrix), normed,
                         row_ok);
  };
  ops::Rows in = norm(layer.input_norm, layer.attention.qkv);
  probe("input_norm", normed);
  nn::RunAttention(context, layer.attention, in, pass.batch, pass.angles, number, kernels::kAdd, x, stride,
                   row_ok);
  probe("o_proj", x);
  in = norm(layer.post_norm, layer.mlp.gate_up);
  probe("post_norm", normed);
  nn::RunMlp(context, layer.mlp, in, number, x, stride);
  probe("down_proj", x);
}

}  // namespace fusiontree::models
