#include "models/fusiontree/weight_map.h"

#include <fmt/format.h>

namespace fusiontree::models {
namespace {

NormRules MakeNorm(const std::string& name, int64_t n, bool bias) {
  NormRules rules{{MakeRule(name + ".weight", {n})}, {}};
  if (bias) rules.bias = {MakeRule(name + ".bias", {n})};
  return rules;
}

void MakeTable(const FusionTreeConfig& c, const std::string& prefix, OptionalRule* table,
               OptionalRule* basis) {
  if (c.srte == TimeEncoding::kLearnable)
    *table = {MakeRule(prefix + "srte.weight", {c.table_positions, c.hidden_size})};
  if (c.srte == TimeEncoding::kFactorized) {
    *table = {MakeRule(prefix + "srte.factor", {c.table_positions, c.srte_rank})};
    *basis = {MakeRule(prefix + "srte.basis", {c.hidden_size, c.srte_rank})};
  }
}

void MakeAttention(const FusionTreeConfig& c, int64_t layer, const std::string& prefix, FusionLayerRules* r) {
  const int64_t h = c.hidden_size, d = c.head_dim, heads = c.HeadsOf(layer);
  if (c.attn_conv_kernel > 0) r->attn_conv = {MakeRule(prefix + "conv.weight", {h, 1, c.attn_conv_kernel})};
  const auto head_rule = [&](const char* name, int64_t count, Sharding sharding) {
    TensorRule rule = MakeRule(prefix + name, {count * d, h}, sharding);
    rule.head_rows = d;
    return OptionalRule{rule};
  };
  r->q = head_rule("q_proj.weight", heads, Sharding::kQueryHeads);
  r->k = head_rule("k_proj.weight", heads / c.group(), Sharding::kKvHeads);
  r->v = head_rule("v_proj.weight", heads / c.group(), Sharding::kKvHeads);
  r->o = {MakeRule(prefix + "o_proj.weight", {h, heads * d}, Sharding::kColumns)};
  r->o[0].all_columns = c.num_heads * d;
}

FusionLayerRules MakeLayer(const FusionTreeConfig& c, int64_t layer) {
  const std::string p = fmt::format("model.layers.{}.", layer);
  const int64_t h = c.hidden_size;
  const bool mamba = c.HasMamba(layer), attention = c.HasAttention(layer);
  FusionLayerRules r;
  // In a serial layer each branch has a norm of its own before it.
  if (!c.serial || mamba) r.norm_in = MakeNorm(p + "norm_in", h, c.layer_norm);
  if (c.serial && attention) r.norm_mid = MakeNorm(p + "norm_mid", h, c.layer_norm);
  if (c.branch_norm && mamba) r.norm_m = MakeNorm(p + "norm_m", h, false);
  if (c.branch_norm && attention) r.norm_a = MakeNorm(p + "norm_a", h, false);
  if (c.post_norm) r.norm_out = MakeNorm(p + "norm_out", h, c.layer_norm);
  if (mamba) {
    if (!c.srte_shared) MakeTable(c, p, &r.srte_table, &r.srte_basis);
    r.mixer = {MakeMixerRules(p + "mamba.", {.hidden = h,
                                             .inner = c.inner,
                                             .state = c.state_size,
                                             .kernel = c.conv_kernel,
                                             .rank = c.time_step_rank,
                                             .norms = c.ssm_norm})};
  }
  if (attention) MakeAttention(c, layer, p + "attn.", &r);
  const int64_t both = (mamba && attention ? 2 : 1) * h;
  if (c.aligned) {
    r.w1 = {MakeRule(p + "fuse.w1.weight", {h, both}, Sharding::kRows)};
    r.w1_bias = {MakeRule(p + "fuse.w1.bias", {h}, Sharding::kRows)};
    r.w2 = {MakeRule(p + "fuse.w2.weight", {h, h}, Sharding::kColumns)};
    r.w2_bias = {MakeRule(p + "fuse.w2.bias", {h})};
    r.wr = {MakeRule(p + "fuse.wr.weight", {h, both})};
    r.wr_bias = {MakeRule(p + "fuse.wr.bias", {h})};
  }
  if (c.Gated(layer)) {
    r.gu = {MakeRule(p + "gate.gu.weight", {c.gate_rank, h})};
    r.gd = {MakeRule(p + "gate.gd.weight", {c.gate == GateKind::kToken ? 1 : h, c.gate_rank})};
  }
  r.wf = MakeRule(p + "fuse.wf.weight", {h, h});
  r.wf_bias = MakeRule(p + "fuse.wf.bias", {h});
  r.m1 = MakeRule(p + "mlp.m1.weight", {2 * h, h}, Sharding::kRows);
  r.m1_bias = MakeRule(p + "mlp.m1.bias", {2 * h}, Sharding::kRows);
  r.m2 = MakeRule(p + "mlp.m2.weight", {h, 2 * h}, Sharding::kColumns);
  r.m2_bias = MakeRule(p + "mlp.m2.bias", {h});
  return r;
}

}  // namespace

FusionTreeRules MakeFusionTreeRules(const FusionTreeConfig& c) {
  FusionTreeRules rules;
  rules.embedding =
      MakeRule("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, Sharding::kVocabulary);
  if (!c.tie_word_embeddings)
    rules.head = {MakeRule("lm_head.weight", {c.vocab_size, c.hidden_size}, Sharding::kVocabulary)};
  rules.final_norm = MakeNorm("model.norm", c.hidden_size, c.layer_norm);
  if (c.srte_shared && c.AnyMamba()) MakeTable(c, "model.", &rules.srte_table, &rules.srte_basis);
  for (int64_t i = 0; i < c.num_layers; ++i) rules.layers.push_back(MakeLayer(c, i));
  return rules;
}

std::vector<TensorRule> FusionTreeRules::All() const {
  std::vector<TensorRule> all = {embedding};
  auto add = [&](const std::vector<TensorRule>& more) { all.insert(all.end(), more.begin(), more.end()); };
  auto add_norm = [&](const NormRules& norm) {
    add(norm.weight);
    add(norm.bias);
  };
  add(head);
  add_norm(final_norm);
  add(srte_table);
  add(srte_basis);
  for (const FusionLayerRules& r : layers) {
    for (const NormRules* norm : {&r.norm_in, &r.norm_mid, &r.norm_m, &r.norm_a, &r.norm_out})
      add_norm(*norm);
    for (const MixerRules& mixer : r.mixer) add(AllOf(mixer));
    for (const OptionalRule* rule : {&r.srte_table, &r.srte_basis, &r.attn_conv, &r.q, &r.k, &r.v, &r.o,
                                     &r.w1, &r.w1_bias, &r.w2, &r.w2_bias, &r.wr, &r.wr_bias, &r.gu, &r.gd})
      add(*rule);
    add({r.wf, r.wf_bias, r.m1, r.m1_bias, r.m2, r.m2_bias});
  }
  return all;
}

}  // namespace fusiontree::models
