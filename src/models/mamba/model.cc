#include "models/mamba/model.h"

#include <fmt/format.h>

#include "models/describe.h"

namespace fusiontree::models {
MixerShape MambaSpec::mixer() const {
  return {.hidden = config_.hidden_size,
          .inner = config_.inner,
          .state = config_.state_size,
          .kernel = config_.conv_kernel,
          .rank = config_.time_step_rank,
          .norms = false,
          .projection_bias = config_.use_bias,
          .conv_bias = config_.use_conv_bias,
          .f32_states = false};
}

MambaSpec::Tensors MambaSpec::MakeRules() const {
  const MambaConfig& c = config_;
  Tensors rules;
  rules.embedding =
      MakeRule("backbone.embeddings.weight", {c.vocab_size, c.hidden_size}, Sharding::kVocabulary);
  rules.final_norm = MakeRule("backbone.norm_f.weight", {c.hidden_size});
  if (!c.tie_word_embeddings)
    rules.head = {MakeRule("lm_head.weight", {c.vocab_size, c.hidden_size}, Sharding::kVocabulary)};
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string prefix = fmt::format("backbone.layers.{}.", i);
    rules.norms.push_back(MakeRule(prefix + "norm.weight", {c.hidden_size}));
    rules.mixers.push_back(MakeMixerRules(prefix + "mixer.", mixer()));
  }
  return rules;
}

std::vector<TensorRule> MambaSpec::Rules(checkpoint::Checkpoint::Format) const {
  const Tensors rules = MakeRules();
  std::vector<TensorRule> all = {rules.embedding, rules.final_norm};
  const auto add = [&](const std::vector<TensorRule>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  add(rules.head);
  add(rules.norms);
  for (const MixerRules& mixer : rules.mixers) add(AllOf(mixer));
  return all;
}

cache::CacheLayout MambaSpec::Layout(const kernels::Table&, kernels::AttentionKind, Shard shard) const {
  cache::CacheLayout layout;
  for (int64_t i = 0; i < config_.num_layers; ++i)
    AddMixerStates(mixer(), static_cast<int>(i), shard, &layout);
  return layout;
}

std::vector<Fact> MambaSpec::Describe() const {
  const MambaConfig& c = config_;
  const cache::CacheLayout layout = Layout(*kernels::RefTable(), kernels::kAttentionF32, Shard());
  const int64_t state_bytes = static_cast<int64_t>(layout.PageBytes(0));
  return {
      Line("layers", fmt::format("{} of hidden size {}: mamba", c.num_layers, c.hidden_size)),
      Line("mixer", fmt::format("Mamba, {} channels of {} states, convolution of {}, step rank {}", c.inner,
                                c.state_size, c.conv_kernel, c.time_step_rank)),
      Line("context", "any length"),
      Line("vocabulary", fmt::format("{} rows, head {}", Grouped(c.vocab_size),
                                     c.tie_word_embeddings ? "tied to the embedding" : "of its own")),
      Line("biases",
           fmt::format("projections: {}; convolution: {}", YesNo(c.use_bias), YesNo(c.use_conv_bias))),
      Line("norms", fmt::format("RMS, epsilon {:.6g}", c.norm_eps)),
      Line("a sequence", fmt::format("{} bytes of state, no keys and values", Grouped(state_bytes))),
      TextFact("family", c.family),
      IntegerFact("vocab_size", c.vocab_size),
      IntegerFact("hidden_size", c.hidden_size),
      IntegerFact("num_layers", c.num_layers),
      IntegerFact("max_positions", c.max_positions),
      NumberFact("norm_eps", c.norm_eps),
      IntegerFact("ssm_channels", c.inner),
      IntegerFact("ssm_state_size", c.state_size),
      IntegerFact("conv_kernel", c.conv_kernel),
      IntegerFact("time_step_rank", c.time_step_rank),
      BoolFact("use_bias", c.use_bias),
      BoolFact("use_conv_bias", c.use_conv_bias),
      BoolFact("tie_word_embeddings", c.tie_word_embeddings),
      IntegerFact("state_bytes", state_bytes),
      IntegerFact("reduction_slices", c.reduction_slices),
  };
}

base::Result<std::unique_ptr<Model>> MambaSpec::Load(const checkpoint::Checkpoint& checkpoint,
                                                     const ModelOptions& options,
                                                     ops::Context& context) const {
  return MambaModel::Load(checkpoint, *this, options, context);
}

base::Result<std::unique_ptr<Model>> MambaModel::Load(const checkpoint::Checkpoint& checkpoint,
                                                      const MambaSpec& spec, const ModelOptions& options,
                                                      ops::Context& context) {
  FT_ASSIGN_OR_RETURN(const Shard shard, ShardOf(checkpoint, spec.config().reduction_slices, context));
  std::unique_ptr<MambaModel> model(new MambaModel(checkpoint, spec, options, context.kernels(), shard));
  FT_RETURN_IF_ERROR(model->Build(checkpoint, options, context));
  return std::unique_ptr<Model>(std::move(model));
}

base::Status MambaModel::Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                               ops::Context& context) {
  const MambaSpec::Tensors rules = spec_.MakeRules();
  const float eps = static_cast<float>(config().norm_eps);
  std::vector<size_t> norms;
  std::vector<MixerPlan> mixers;
  const Outer outer{.embedding = rules.embedding,
                    .head = rules.head,
                    .norm = rules.final_norm,
                    .norm_bias = {},
                    .eps = config().norm_eps,
                    .layer_norm = false,
                    .tied_copy = "lm_head.weight",
                    .also_known = {}};
  FT_RETURN_IF_ERROR(LoadWeights(checkpoint, spec_, outer, options, context, [&]() -> base::Status {
    for (size_t i = 0; i < rules.norms.size(); ++i) {
      FT_ASSIGN_OR_RETURN(norms.emplace_back(), store_.AddVector(rules.norms[i]));
      FT_ASSIGN_OR_RETURN(mixers.emplace_back(),
                          AddMixer(rules.mixers[i], config().reduction_slices, &store_));
    }
    return base::OkStatus();
  }));
  size_t state = 0;
  for (size_t i = 0; i < norms.size(); ++i) {
    layers_.push_back(
        {store_.MakeNorm(norms[i], eps), MakeMixer(mixers[i], spec_.mixer(), store_, shard_, eps, state)});
    state = layers_.back().mixer.scan_state + 1;
  }
  return base::OkStatus();
}

double MambaModel::FlopsPerToken(int64_t) const {
  return static_cast<double>(config().num_layers) * MixerFlops(spec_.mixer());
}

void MambaModel::RunLayer(ops::Context& context, const Pass& pass, int64_t index, float* x,
                          uint8_t* row_ok) const {
  const int64_t rows = pass.rows(), stride = hidden_stride(), hidden = config().hidden_size;
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const int number = static_cast<int>(index);
  const ops::Context::Scope scope(context);
  float* u = context.Take(rows * stride);
  ops::RunNorm(context, layer.norm, x, stride, rows, u, row_ok);
  nn::ObserveWhole(context, number, "norm_in", u, rows, hidden, stride);
  const ops::Rows in =
      ops::PackRows(context, u, stride, rows, layer.mixer.in, ops::TakeRows(context, rows, layer.mixer.in));
  nn::RunMamba(context, layer.mixer, in, pass.batch, number, kernels::kAdd, x, stride, row_ok);
  nn::ObserveWhole(context, number, "layer_out", x, rows, hidden, stride);
}

}  // namespace fusiontree::models
