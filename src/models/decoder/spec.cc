#include "models/decoder/spec.h"

#include <fmt/format.h>

#include <map>

#include "models/decoder/model.h"
#include "models/decoder/weight_map.h"
#include "models/describe.h"

namespace fusiontree::models {
namespace {

std::string RopeText(const RopeConfig& rope) {
  std::string text = fmt::format("theta {}", rope.theta);
  if (rope.scaling == RopeConfig::Scaling::kLinear)
    text += fmt::format(", linear scaling by {}", rope.factor);
  if (rope.scaling == RopeConfig::Scaling::kLlama3)
    text +=
        fmt::format(", llama3 scaling by {} from a context of {}", rope.factor, rope.original_max_position);
  return text;
}

}  // namespace

std::vector<TensorRule> DecoderSpec::Rules(checkpoint::Checkpoint::Format format) const {
  return RulesOf(format, config_).All();
}

cache::CacheLayout DecoderSpec::Layout(const kernels::Table& table, kernels::AttentionKind kind,
                                       Shard shard) const {
  const base::Range kv = KvHeads(heads(), shard);
  std::map<int64_t, cache::CacheLayout::Group> by_window;
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const int64_t window = config_.windows[static_cast<size_t>(i)];
    by_window[window].window = window;
    by_window[window].kv_heads = kv.end - kv.begin;
    by_window[window].layers.push_back(static_cast<int>(i));
  }
  cache::CacheLayout layout;
  for (auto& [window, group] : by_window) layout.groups.push_back(std::move(group));
  layout.block_bytes = table.attention[kind].block_bytes(config_.head_dim);
  return layout;
}

std::vector<Fact> DecoderSpec::Describe() const {
  const DecoderConfig& c = config_;
  return {
      Line("layers",
           fmt::format("{} of hidden size {}, MLP of {}", c.num_layers, c.hidden_size, c.intermediate_size)),
      Line("attention", fmt::format("{} query heads on {} key-value heads of {}", c.num_heads, c.num_kv_heads,
                                    c.head_dim)),
      Line("sees", WindowText(c.windows)),
      Line("positions", fmt::format("rotary, {}", RopeText(c.rope))),
      Line("context", fmt::format("{} tokens", Grouped(c.max_positions))),
      Line("vocabulary", fmt::format("{} rows, head {}", Grouped(c.vocab_size),
                                     c.tie_word_embeddings ? "tied to the embedding" : "of its own")),
      Line("biases",
           fmt::format("q, k, v: {}; o: {}; MLP: {}", YesNo(c.qkv_bias), YesNo(c.o_bias), YesNo(c.mlp_bias))),
      Line("norms", fmt::format("RMS, epsilon {:.6g}{}", c.norm_eps,
                                c.qk_norm ? ", also of each query and key head" : "")),
      TextFact("family", c.family),
      IntegerFact("vocab_size", c.vocab_size),
      IntegerFact("hidden_size", c.hidden_size),
      IntegerFact("intermediate_size", c.intermediate_size),
      IntegerFact("num_layers", c.num_layers),
      IntegerFact("num_heads", c.num_heads),
      IntegerFact("num_kv_heads", c.num_kv_heads),
      IntegerFact("head_dim", c.head_dim),
      IntegerFact("max_positions", c.max_positions),
      NumberFact("norm_eps", c.norm_eps),
      TextFact("rope", RopeText(c.rope)),
      BoolFact("tie_word_embeddings", c.tie_word_embeddings),
      BoolFact("qkv_bias", c.qkv_bias),
      BoolFact("o_bias", c.o_bias),
      BoolFact("mlp_bias", c.mlp_bias),
      BoolFact("qk_norm", c.qk_norm),
      IntegersFact("windows", c.windows),
      IntegerFact("reduction_slices", c.reduction_slices),
  };
}

base::Result<std::unique_ptr<Model>> DecoderSpec::Load(const checkpoint::Checkpoint& checkpoint,
                                                       const ModelOptions& options,
                                                       ops::Context& context) const {
  return DecoderModel::Load(checkpoint, *this, options, context);
}

}  // namespace fusiontree::models
