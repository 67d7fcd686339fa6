#include "models/fusiontree/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "models/describe.h"
#include "models/fusiontree/model.h"
#include "models/fusiontree/weight_map.h"

namespace fusiontree::models {

std::vector<TensorRule> FusionTreeSpec::Rules(checkpoint::Checkpoint::Format) const {
  return MakeFusionTreeRules(config_).All();
}

MixerShape FusionTreeSpec::mixer() const {
  return {.hidden = config_.hidden_size,
          .inner = config_.inner,
          .state = config_.state_size,
          .kernel = config_.conv_kernel,
          .rank = config_.time_step_rank,
          .norms = config_.ssm_norm};
}

std::vector<FusionTreeSpec::Heads> FusionTreeSpec::HeadsOf(int64_t layer, Shard shard) const {
  const base::Range own = QueryHeads(heads(), shard);
  const int64_t group = config_.group(), local = config_.local_heads();
  const int64_t end = std::min(own.end, config_.HeadsOf(layer));
  std::vector<Heads> kinds(2);
  kinds[0] = {{own.begin, std::min(end, local)}, {0, 0}, config_.windows[static_cast<size_t>(layer)]};
  kinds[1] = {{std::max(own.begin, local), end}, {0, 0}, 0};
  for (Heads& h : kinds) {
    if (h.any())
      h.kv = {h.query.begin / group, (h.query.end - 1) / group + 1};
    else
      h.query = {0, 0};
  }
  return kinds;
}

cache::CacheLayout FusionTreeSpec::Layout(const kernels::Table& table, kernels::AttentionKind kind,
                                          Shard shard) const {
  cache::CacheLayout layout;
  std::map<int64_t, cache::CacheLayout::Group> by_window;
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const int layer = static_cast<int>(i);
    if (config_.HasAttention(i)) {
      for (const Heads& h : HeadsOf(i, shard)) {
        if (!h.any()) continue;
        by_window[h.window].window = h.window;
        by_window[h.window].kv_heads = h.kv.end - h.kv.begin;
        by_window[h.window].layers.push_back(layer);
      }
      if (config_.attn_conv_kernel > 1)
        layout.states.push_back({"attn_conv", layer, config_.attn_conv_kernel - 1, config_.hidden_size});
    }
    if (config_.HasMamba(i)) AddMixerStates(mixer(), layer, shard, &layout);
  }
  for (auto& [window, group] : by_window) layout.groups.push_back(std::move(group));
  layout.block_bytes = table.attention[kind].block_bytes(config_.head_dim);
  return layout;
}

std::vector<Fact> FusionTreeSpec::Describe() const {
  const FusionTreeConfig& c = config_;
  std::map<LayerType, int64_t> types;
  for (const LayerType type : c.layer_types) ++types[type];
  std::string layers, list;
  for (const auto& [type, count] : types)
    layers += fmt::format("{}{} {}", layers.empty() ? "" : ", ", count, LayerTypeName(type));
  for (const LayerType type : c.layer_types)
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", LayerTypeName(type));
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < c.num_layers; ++i)
    if (c.HasAttention(i) && c.local_heads() > 0) windows.push_back(c.windows[static_cast<size_t>(i)]);
  static const char* const kGates[] = {"a gate a channel", "a gate a token", "no gate, half and half"};
  static const char* const kTimes[] = {"sines and cosines", "learnt", "learnt, factorised", "none"};
  const cache::CacheLayout layout = Layout(*kernels::RefTable(), kernels::kAttentionBf16, Shard());
  int64_t growing = 0;
  for (const cache::CacheLayout::Group& group : layout.groups)
    if (group.window == 0)
      growing += static_cast<int64_t>(group.layers.size()) * group.kv_heads * c.head_dim * 2 * 2;
  return {
      Line("layers", fmt::format("{} of hidden size {}: {}", c.num_layers, c.hidden_size, layers)),
      Line("branches", fmt::format("{}, joined by {}{}{}", c.serial ? "one after the other" : "side by side",
                                   kGates[static_cast<int>(c.gate)],
                                   c.gate == GateKind::kNone ? "" : fmt::format(" of rank {}", c.gate_rank),
                                   c.aligned ? ", aligned" : "")),
      Line("mixer", fmt::format("Mamba, {} channels of {} states, convolution of {}, step rank {}{}", c.inner,
                                c.state_size, c.conv_kernel, c.time_step_rank, c.ssm_norm ? ", normed" : "")),
      Line("time encoding", fmt::format("{}{}", kTimes[static_cast<int>(c.srte)],
                                        c.LearntTable() && !c.srte_shared ? ", one a layer" : "")),
      Line("attention",
           fmt::format("{} local and {} global query heads on {} key-value heads of {}, convolution of {}",
                       c.local_heads(), c.global_heads, c.num_kv_heads, c.head_dim, c.attn_conv_kernel)),
      Line("local heads", windows.empty() ? "none" : WindowText(windows)),
      Line("positions", fmt::format("rotary, theta {}", c.rope_theta)),
      Line("context", c.LearntTable() && c.AnyMamba() ? fmt::format("{} tokens", Grouped(c.max_positions))
                                                      : std::string("any length")),
      Line("vocabulary", fmt::format("{} rows, head {}", Grouped(c.vocab_size),
                                     c.tie_word_embeddings ? "tied to the embedding" : "of its own")),
      Line("norms", fmt::format("{}, epsilon {:.6g}{}{}", c.layer_norm ? "layer" : "RMS", c.norm_eps,
                                c.branch_norm ? ", also of each branch" : "",
                                c.post_norm ? ", also after each layer" : "")),
      Line("a sequence",
           fmt::format("{} bytes of state and, in bf16, {} of keys and values a token (global heads)",
                       Grouped(static_cast<int64_t>(layout.PageBytes(layout.groups.size()))),
                       Grouped(growing))),
      TextFact("family", c.family),
      IntegerFact("vocab_size", c.vocab_size),
      IntegerFact("hidden_size", c.hidden_size),
      IntegerFact("num_layers", c.num_layers),
      IntegerFact("num_heads", c.num_heads),
      IntegerFact("num_kv_heads", c.num_kv_heads),
      IntegerFact("head_dim", c.head_dim),
      IntegerFact("global_heads", c.global_heads),
      IntegersFact("windows", c.windows),
      IntegerFact("max_positions", c.max_positions),
      NumberFact("norm_eps", c.norm_eps),
      IntegerFact("gate_rank", c.gate_rank),
      IntegerFact("ssm_channels", c.inner),
      IntegerFact("ssm_state_size", c.state_size),
      IntegerFact("conv_kernel", c.conv_kernel),
      IntegerFact("time_step_rank", c.time_step_rank),
      IntegerFact("attn_conv_kernel", c.attn_conv_kernel),
      BoolFact("serial", c.serial),
      BoolFact("tie_word_embeddings", c.tie_word_embeddings),
      Fact{"", "", "layer_types", "[" + list + "]"},
      IntegerFact("state_bytes", static_cast<int64_t>(layout.PageBytes(layout.groups.size()))),
      IntegerFact("reduction_slices", c.reduction_slices),
  };
}

base::Result<std::unique_ptr<Model>> FusionTreeSpec::Load(const checkpoint::Checkpoint& checkpoint,
                                                          const ModelOptions& options,
                                                          ops::Context& context) const {
  return FusionTreeModel::Load(checkpoint, *this, options, context);
}

}  // namespace fusiontree::models
