// GGUF metadata of the decoder families.
#include <cmath>
#include <set>

#include "models/decoder/read_config.h"

namespace fusiontree::models {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Metadata;

base::Result<int64_t> Positive(const Metadata& m, const std::string& key) {
  FT_ASSIGN_OR_RETURN(const int64_t value, m.Get<int64_t>(key));
  if (value < 1 || value > INT32_MAX)
    return base::BadInput("GGUF metadata: {} is {}, expected 1 to 2147483647", key, value);
  return value;
}
base::Result<int64_t> PositiveOr(const Metadata& m, const std::string& key, int64_t fallback) {
  if (!m.Has(key)) return fallback;
  return Positive(m, key);
}

base::Status ReadRope(const Checkpoint& checkpoint, const std::string& arch, DecoderConfig* c) {
  const Metadata& m = checkpoint.metadata();
  FT_ASSIGN_OR_RETURN(c->rope.theta, m.GetOr<double>(arch + ".rope.freq_base", 10000.0));
  FT_ASSIGN_OR_RETURN(const int64_t rotated, PositiveOr(m, arch + ".rope.dimension_count", c->head_dim));
  if (rotated != c->head_dim)
    return base::BadInput(
        "GGUF metadata: {}.rope.dimension_count is {}, but only whole heads of {} are rotated", arch, rotated,
        c->head_dim);
  FT_ASSIGN_OR_RETURN(const std::string scaling, m.GetOr<std::string>(arch + ".rope.scaling.type", "none"));
  if (scaling == "linear") {
    c->rope.scaling = RopeConfig::Scaling::kLinear;
    FT_ASSIGN_OR_RETURN(c->rope.factor, m.Get<double>(arch + ".rope.scaling.factor"));
  } else if (scaling != "none") {
    return base::BadInput("GGUF metadata: rope scaling of type \"{}\" is not supported (none and linear are)",
                          scaling);
  }
  // Llama 3.x: the converter writes the scaling as one divisor a frequency.
  const checkpoint::TensorInfo* factors = checkpoint.Find("rope_freqs.weight");
  if (factors == nullptr) return base::OkStatus();
  if (factors->type != tensor::DType::kF32 || factors->elements() != c->head_dim / 2)
    return base::BadInput("tensor rope_freqs.weight: expected {} values of F32, got {} {}", c->head_dim / 2,
                          factors->ShapeString(), tensor::Info(factors->type).name);
  c->rope.factors.resize(static_cast<size_t>(c->head_dim / 2));
  FT_RETURN_IF_ERROR(checkpoint.Read(*factors, 0, factors->bytes, c->rope.factors.data()));
  for (float f : c->rope.factors)
    if (!std::isfinite(f) || f <= 0.0f)
      return base::BadInput("tensor rope_freqs.weight holds {}, expected a positive number", f);
  return base::OkStatus();
}

// Every key of the architecture's own name must be known: it may change the function.
base::Status RefuseUnknown(const Metadata& m, const std::string& arch) {
  static const std::set<std::string> known = {"block_count",
                                              "context_length",
                                              "embedding_length",
                                              "feed_forward_length",
                                              "vocab_size",
                                              "attention.head_count",
                                              "attention.head_count_kv",
                                              "attention.key_length",
                                              "attention.value_length",
                                              "attention.layer_norm_rms_epsilon",
                                              "attention.sliding_window",
                                              "rope.freq_base",
                                              "rope.dimension_count",
                                              "rope.scaling.type",
                                              "rope.scaling.factor",
                                              "rope.scaling.original_context_length",
                                              "rope.scaling.finetuned",
                                              "tensor_data_layout"};
  for (const auto& [key, value] : m.values()) {
    if (key.rfind(arch + ".", 0) != 0) continue;
    const std::string name = key.substr(arch.size() + 1);
    if (known.count(name)) continue;
    const int64_t* number = std::get_if<int64_t>(&value);
    if (number != nullptr && *number == 0) continue;  // "expert_count 0" and the like
    return base::BadInput("GGUF metadata: the key {} is not known, so it may change what the model computes",
                          key);
  }
  return base::OkStatus();
}

}  // namespace

base::Result<DecoderConfig> ReadGgufConfig(const Checkpoint& checkpoint,
                                           const std::vector<const Family*>& families) {
  const Metadata& m = checkpoint.metadata();
  FT_ASSIGN_OR_RETURN(const std::string arch, m.Get<std::string>("general.architecture"));
  const Family* family = nullptr;
  std::string names;
  for (const Family* f : families) {
    if (arch == f->gguf_architecture) family = f;
    if (*f->gguf_architecture) names += (names.empty() ? "" : ", ") + std::string(f->gguf_architecture);
  }
  if (family == nullptr)
    return base::BadInput("GGUF metadata: the architecture \"{}\" is not supported (supported: {})", arch,
                          names);
  FT_RETURN_IF_ERROR(RefuseUnknown(m, arch));
  FT_ASSIGN_OR_RETURN(const int64_t parts, m.GetOr<int64_t>("split.count", 1));
  if (parts > 1) return base::BadInput("GGUF metadata: this file is one of {} parts; join them first", parts);

  DecoderConfig c;
  c.family = family->model_type;
  FT_ASSIGN_OR_RETURN(c.hidden_size, Positive(m, arch + ".embedding_length"));
  FT_ASSIGN_OR_RETURN(c.intermediate_size, Positive(m, arch + ".feed_forward_length"));
  FT_ASSIGN_OR_RETURN(c.num_layers, Positive(m, arch + ".block_count"));
  FT_ASSIGN_OR_RETURN(c.num_heads, Positive(m, arch + ".attention.head_count"));
  FT_ASSIGN_OR_RETURN(c.num_kv_heads, PositiveOr(m, arch + ".attention.head_count_kv", c.num_heads));
  FT_ASSIGN_OR_RETURN(c.max_positions, Positive(m, arch + ".context_length"));
  FT_ASSIGN_OR_RETURN(c.norm_eps, m.Get<double>(arch + ".attention.layer_norm_rms_epsilon"));
  c.norm_eps = static_cast<double>(static_cast<float>(c.norm_eps));
  if (!m.Has(arch + ".attention.key_length") && c.hidden_size % c.num_heads != 0)
    return base::BadInput("GGUF metadata: an embedding length of {} does not divide into {} heads",
                          c.hidden_size, c.num_heads);
  FT_ASSIGN_OR_RETURN(c.head_dim, PositiveOr(m, arch + ".attention.key_length", c.hidden_size / c.num_heads));
  FT_ASSIGN_OR_RETURN(const int64_t value_length,
                      PositiveOr(m, arch + ".attention.value_length", c.head_dim));
  if (value_length != c.head_dim)
    return base::BadInput("GGUF metadata: value heads of {} and key heads of {} differ", value_length,
                          c.head_dim);
  FT_RETURN_IF_ERROR(ReadRope(checkpoint, arch, &c));
  if (m.Has(arch + ".attention.sliding_window")) {
    FT_ASSIGN_OR_RETURN(const int64_t window, Positive(m, arch + ".attention.sliding_window"));
    if (c.num_layers <= 4096) c.windows.assign(static_cast<size_t>(c.num_layers), window);
  }
  const checkpoint::TensorInfo* embedding = checkpoint.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    return base::BadInput("the tensor token_embd.weight is missing or not a matrix");
  c.vocab_size = embedding->shape[0];
  FT_ASSIGN_OR_RETURN(const int64_t stated, m.GetOr<int64_t>(arch + ".vocab_size", c.vocab_size));
  if (stated != c.vocab_size)
    return base::BadInput("GGUF metadata: {}.vocab_size is {}, but token_embd.weight has {} rows", arch,
                          stated, c.vocab_size);
  c.tie_word_embeddings = checkpoint.Find("output.weight") == nullptr;
  FT_RETURN_IF_ERROR(family->read_gguf(m, &c));
  if (!c.qkv_bias) c.qkv_bias = checkpoint.Find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = checkpoint.Find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = checkpoint.Find("blk.0.ffn_gate.bias") != nullptr;
  FT_ASSIGN_OR_RETURN(const int64_t eos, m.GetOr<int64_t>("tokenizer.ggml.eos_token_id", -1));
  if (eos >= 0) c.eos_ids.push_back(eos);
  FT_ASSIGN_OR_RETURN(const int64_t eot, m.GetOr<int64_t>("tokenizer.ggml.eot_token_id", -1));
  if (eot >= 0 && eot != eos) c.eos_ids.push_back(eot);
  FT_ASSIGN_OR_RETURN(c.bos_id, m.GetOr<int64_t>("tokenizer.ggml.bos_token_id", -1));
  base::Result<DecoderConfig> result = FinishConfig(std::move(c), 0);
  if (!result.ok()) return base::BadInput("GGUF metadata: {}", result.status().message().substr(8));
  return result;
}

}  // namespace fusiontree::models
