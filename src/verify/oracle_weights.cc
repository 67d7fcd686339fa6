#include "verify/oracle_weights.h"

#include <algorithm>

namespace fusiontree::verify {
namespace {

using base::Result;

// llama.cpp's converter turns row (head, half, i) of q and k into row (head, i, half). Undone here; `width`
// floats a row.
void Uninterleave(std::vector<float>* rows, int64_t width, int64_t head_dim) {
  const std::vector<float> from = *rows;
  const int64_t count = static_cast<int64_t>(from.size()) / width;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t in_head = r % head_dim, half = in_head / (head_dim / 2), i = in_head % (head_dim / 2);
    const int64_t source = r - in_head + 2 * i + half;
    std::copy_n(from.begin() + source * width, width, rows->begin() + r * width);
  }
}

}  // namespace

Result<OracleLayer> OracleWeights::Layer(int64_t layer) const {
  const OracleConfig& c = *config_;
  const bool ours = !gguf();
  const std::string prefix = ours ? fmt::format("model.layers.{}.", layer) : fmt::format("blk.{}.", layer);
  const auto name = [&](const char* hugging_face, const char* ggml) {
    return prefix + (ours ? hugging_face : ggml);
  };
  const int64_t q_rows = c.num_heads * c.head_dim, kv_rows = c.num_kv_heads * c.head_dim;
  OracleLayer out;
  FT_ASSIGN_OR_RETURN(out.input_norm,
                      tensors_.Vector(name("input_layernorm.weight", "attn_norm.weight"), c.hidden_size));
  FT_ASSIGN_OR_RETURN(
      out.post_norm,
      tensors_.Vector(name("post_attention_layernorm.weight", "ffn_norm.weight"), c.hidden_size));
  const std::string q_norm = name("self_attn.q_norm.weight", "attn_q_norm.weight");
  if (tensors_.Has(q_norm)) {
    FT_ASSIGN_OR_RETURN(out.q_norm, tensors_.Vector(q_norm, c.head_dim));
    FT_ASSIGN_OR_RETURN(out.k_norm,
                        tensors_.Vector(name("self_attn.k_norm.weight", "attn_k_norm.weight"), c.head_dim));
  }
  FT_ASSIGN_OR_RETURN(out.q, tensors_.Matrix(name("self_attn.q_proj", "attn_q"), q_rows, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.k, tensors_.Matrix(name("self_attn.k_proj", "attn_k"), kv_rows, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.v, tensors_.Matrix(name("self_attn.v_proj", "attn_v"), kv_rows, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.o, tensors_.Matrix(name("self_attn.o_proj", "attn_output"), c.hidden_size, q_rows));
  FT_ASSIGN_OR_RETURN(out.gate,
                      tensors_.Matrix(name("mlp.gate_proj", "ffn_gate"), c.intermediate_size, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.up,
                      tensors_.Matrix(name("mlp.up_proj", "ffn_up"), c.intermediate_size, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.down,
                      tensors_.Matrix(name("mlp.down_proj", "ffn_down"), c.hidden_size, c.intermediate_size));
  if (c.interleaved_qk) {
    for (OracleMatrix* matrix : {&out.q, &out.k}) {
      Uninterleave(&matrix->exact.values, c.hidden_size, c.head_dim);
      if (!matrix->bias.empty()) Uninterleave(&matrix->bias, 1, c.head_dim);
    }
  }
  return out;
}

Result<OracleMatrix> OracleWeights::Embedding() const {
  return tensors_.Matrix(gguf() ? "token_embd" : "model.embed_tokens", config_->vocab_size,
                         config_->hidden_size);
}

Result<OracleMatrix> OracleWeights::Head() const {
  const std::string stem = gguf() ? "output" : "lm_head";
  if (!tensors_.Has(stem + ".weight")) return Embedding();
  return tensors_.Matrix(stem, config_->vocab_size, config_->hidden_size);
}

Result<std::vector<float>> OracleWeights::FinalNorm() const {
  return tensors_.Vector(gguf() ? "output_norm.weight" : "model.norm.weight", config_->hidden_size);
}

}  // namespace fusiontree::verify
