#include "models/decoder/weight_map.h"

#include <fmt/format.h>

namespace fusiontree::models {
namespace {

LayerRules MakeLayer(const DecoderConfig& c, int64_t layer, bool interleaved) {
  const std::string hf = fmt::format("model.layers.{}.", layer), gguf = fmt::format("blk.{}.", layer);
  const int64_t h = c.hidden_size, q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim,
                i = c.intermediate_size;
  const int64_t head = interleaved ? c.head_dim : 0;
  LayerRules r;
  r.input_norm = {hf + "input_layernorm.weight", gguf + "attn_norm.weight", {h}};
  r.post_norm = {hf + "post_attention_layernorm.weight", gguf + "ffn_norm.weight", {h}};
  r.q = {hf + "self_attn.q_proj.weight", gguf + "attn_q.weight", {q, h}, Sharding::kQueryHeads, head};
  r.k = {hf + "self_attn.k_proj.weight", gguf + "attn_k.weight", {kv, h}, Sharding::kKvHeads, head};
  r.v = {hf + "self_attn.v_proj.weight", gguf + "attn_v.weight", {kv, h}, Sharding::kKvHeads};
  r.o = {hf + "self_attn.o_proj.weight", gguf + "attn_output.weight", {h, q}, Sharding::kColumns};
  if (c.qkv_bias)
    r.qkv_bias = {{hf + "self_attn.q_proj.bias", gguf + "attn_q.bias", {q}, Sharding::kQueryHeads, head},
                  {hf + "self_attn.k_proj.bias", gguf + "attn_k.bias", {kv}, Sharding::kKvHeads, head},
                  {hf + "self_attn.v_proj.bias", gguf + "attn_v.bias", {kv}, Sharding::kKvHeads}};
  if (c.o_bias) r.o_bias = {{hf + "self_attn.o_proj.bias", gguf + "attn_output.bias", {h}}};
  if (c.qk_norm)
    r.qk_norm = {{hf + "self_attn.q_norm.weight", gguf + "attn_q_norm.weight", {c.head_dim}},
                 {hf + "self_attn.k_norm.weight", gguf + "attn_k_norm.weight", {c.head_dim}}};
  r.gate = {hf + "mlp.gate_proj.weight", gguf + "ffn_gate.weight", {i, h}, Sharding::kRows};
  r.up = {hf + "mlp.up_proj.weight", gguf + "ffn_up.weight", {i, h}, Sharding::kRows};
  r.down = {hf + "mlp.down_proj.weight", gguf + "ffn_down.weight", {h, i}, Sharding::kColumns};
  if (c.mlp_bias) {
    r.gate_up_bias = {{hf + "mlp.gate_proj.bias", gguf + "ffn_gate.bias", {i}, Sharding::kRows},
                      {hf + "mlp.up_proj.bias", gguf + "ffn_up.bias", {i}, Sharding::kRows}};
    r.down_bias = {{hf + "mlp.down_proj.bias", gguf + "ffn_down.bias", {h}}};
  }
  return r;
}

}  // namespace

DecoderRules MakeDecoderRules(const DecoderConfig& c, bool interleaved) {
  DecoderRules rules;
  rules.embedding = {
      "model.embed_tokens.weight", "token_embd.weight", {c.vocab_size, c.hidden_size}, Sharding::kVocabulary};
  rules.final_norm = {"model.norm.weight", "output_norm.weight", {c.hidden_size}};
  if (!c.tie_word_embeddings)
    rules.head = {{"lm_head.weight", "output.weight", {c.vocab_size, c.hidden_size}, Sharding::kVocabulary}};
  for (int64_t i = 0; i < c.num_layers; ++i) rules.layers.push_back(MakeLayer(c, i, interleaved));
  return rules;
}

DecoderRules RulesOf(checkpoint::Checkpoint::Format format, const DecoderConfig& config) {
  const bool gguf = format == checkpoint::Checkpoint::Format::kGguf;
  return MakeDecoderRules(config, gguf && config.family == "llama");
}

std::vector<TensorRule> DecoderRules::All() const {
  std::vector<TensorRule> all = {embedding, final_norm};
  auto add = [&](const std::vector<TensorRule>& more) { all.insert(all.end(), more.begin(), more.end()); };
  add(head);
  for (const LayerRules& r : layers) {
    add({r.input_norm, r.post_norm, r.q, r.k, r.v, r.o, r.gate, r.up, r.down});
    for (const auto* optional : {&r.qkv_bias, &r.o_bias, &r.qk_norm, &r.gate_up_bias, &r.down_bias})
      add(*optional);
  }
  return all;
}

}  // namespace fusiontree::models
