#include "verify/oracle_weights.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "tensor/dequantise.h"

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::Result;
using base::Status;
using checkpoint::TensorInfo;

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

Result<OracleMatrix> OracleWeights::Matrix(const std::string& stem, int64_t rows, int64_t columns) const {
  const std::string name = stem + ".weight";
  const TensorInfo* info = checkpoint_->Find(name);
  if (!info) return BadInput("tensor {} is missing", name);
  const tensor::DTypeInfo& type = tensor::Info(info->type);
  if (info->shape != std::vector<int64_t>{rows, columns} || !type.is_float ||
      columns % static_cast<int64_t>(type.block) != 0)
    return BadInput("tensor {} is {} {}, expected [{}, {}] of a float type", name, type.name,
                    info->ShapeString(), rows, columns);
  OracleMatrix out;
  out.type = info->type;
  out.exact.rows = rows;
  out.exact.columns = columns;
  out.exact.values.resize(static_cast<size_t>(rows * columns));
  const uint64_t row_bytes = tensor::BytesFor(info->type, static_cast<size_t>(columns));
  constexpr int64_t kStep = 64;  // rows a read
  std::mutex mutex;
  Status failure;
  OracleMath(threads_, false).Parallel((rows + kStep - 1) / kStep, [&](int64_t begin, int64_t end) {
    std::vector<std::byte> bytes(static_cast<size_t>(kStep) * row_bytes);
    for (int64_t row = begin * kStep; row < std::min(end * kStep, rows); row += kStep) {
      const int64_t n = std::min(kStep, rows - row);
      const Status status = checkpoint_->Read(*info, static_cast<uint64_t>(row) * row_bytes,
                                              static_cast<uint64_t>(n) * row_bytes, bytes.data());
      if (!status.ok()) {
        const std::lock_guard<std::mutex> lock(mutex);
        failure = status;
        return;
      }
      tensor::ToFloat(info->type, bytes.data(), static_cast<size_t>(n * columns),
                      out.exact.values.data() + row * columns);
    }
  });
  if (!failure.ok()) return failure;
  if (checkpoint_->Find(stem + ".bias")) {
    FT_ASSIGN_OR_RETURN(out.bias, Vector(stem + ".bias", rows));
  }
  return out;
}

Result<std::vector<float>> OracleWeights::Vector(const std::string& name, int64_t size) const {
  const TensorInfo* info = checkpoint_->Find(name);
  if (!info) return BadInput("tensor {} is missing", name);
  const tensor::DTypeInfo& type = tensor::Info(info->type);
  if (info->elements() != size || !type.is_float || size % static_cast<int64_t>(type.block) != 0)
    return BadInput("tensor {} is {} {}, expected [{}] of a float type", name, type.name, info->ShapeString(),
                    size);
  std::vector<std::byte> bytes(info->bytes);
  FT_RETURN_IF_ERROR(checkpoint_->Read(*info, 0, info->bytes, bytes.data()));
  std::vector<float> out(static_cast<size_t>(size));
  tensor::ToFloat(info->type, bytes.data(), out.size(), out.data());
  return out;
}

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
                      Vector(name("input_layernorm.weight", "attn_norm.weight"), c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.post_norm,
                      Vector(name("post_attention_layernorm.weight", "ffn_norm.weight"), c.hidden_size));
  const std::string q_norm = name("self_attn.q_norm.weight", "attn_q_norm.weight");
  if (checkpoint_->Find(q_norm)) {
    FT_ASSIGN_OR_RETURN(out.q_norm, Vector(q_norm, c.head_dim));
    FT_ASSIGN_OR_RETURN(out.k_norm,
                        Vector(name("self_attn.k_norm.weight", "attn_k_norm.weight"), c.head_dim));
  }
  FT_ASSIGN_OR_RETURN(out.q, Matrix(name("self_attn.q_proj", "attn_q"), q_rows, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.k, Matrix(name("self_attn.k_proj", "attn_k"), kv_rows, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.v, Matrix(name("self_attn.v_proj", "attn_v"), kv_rows, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.o, Matrix(name("self_attn.o_proj", "attn_output"), c.hidden_size, q_rows));
  FT_ASSIGN_OR_RETURN(out.gate,
                      Matrix(name("mlp.gate_proj", "ffn_gate"), c.intermediate_size, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.up, Matrix(name("mlp.up_proj", "ffn_up"), c.intermediate_size, c.hidden_size));
  FT_ASSIGN_OR_RETURN(out.down,
                      Matrix(name("mlp.down_proj", "ffn_down"), c.hidden_size, c.intermediate_size));
  if (c.interleaved_qk) {
    for (OracleMatrix* matrix : {&out.q, &out.k}) {
      Uninterleave(&matrix->exact.values, c.hidden_size, c.head_dim);
      if (!matrix->bias.empty()) Uninterleave(&matrix->bias, 1, c.head_dim);
    }
  }
  return out;
}

Result<OracleMatrix> OracleWeights::Embedding() const {
  return Matrix(gguf() ? "token_embd" : "model.embed_tokens", config_->vocab_size, config_->hidden_size);
}

Result<OracleMatrix> OracleWeights::Head() const {
  const std::string stem = gguf() ? "output" : "lm_head";
  if (!checkpoint_->Find(stem + ".weight")) return Embedding();
  return Matrix(stem, config_->vocab_size, config_->hidden_size);
}

Result<std::vector<float>> OracleWeights::FinalNorm() const {
  return Vector(gguf() ? "output_norm.weight" : "model.norm.weight", config_->hidden_size);
}

}  // namespace fusiontree::verify
