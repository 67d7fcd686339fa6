// config.json of the decoder families: the common keys, and the lists of keys that must be neutral or do not
// matter. docs/models.md explains every one.
#include <array>

#include "models/decoder/read_config.h"

namespace fusiontree::models {
namespace {

// A value other than null, false, 0, "", [] or {} would change the function.
constexpr const char* kMustBeNeutral[] = {"rope_interleaved",
                                          "rope_interleave",
                                          "qk_norm",
                                          "use_qk_norm",
                                          "qk_layernorm",
                                          "quantization_config",
                                          "compression_config",
                                          "quantization",
                                          "per_layer_config",
                                          "num_experts",
                                          "num_local_experts",
                                          "n_routed_experts",
                                          "num_experts_per_tok",
                                          "moe_intermediate_size",
                                          "decoder_sparse_step",
                                          "mlp_only_layers",
                                          "shared_expert_intermediate_size",
                                          "text_config",
                                          "vision_config",
                                          "audio_config",
                                          "thinker_config",
                                          "attn_logit_softcapping",
                                          "final_logit_softcapping",
                                          "logit_softcap",
                                          "attn_softcap",
                                          "final_logit_softcap",
                                          "no_rope_layers",
                                          "no_rope_layer_interval",
                                          "nope_layer_interval",
                                          "attention_chunk_size",
                                          "attn_temperature_tuning",
                                          "layer_norm_type",
                                          "norm_type",
                                          "parallel_residual",
                                          "use_parallel_residual",
                                          "block_types",
                                          "num_nextn_predict_layers",
                                          "mtp_layer_types",
                                          "use_mrope",
                                          "mrope_section",
                                          "use_dynamic_ntk",
                                          "use_logn_attn",
                                          "use_alibi",
                                          "alibi",
                                          "rope_local_base_freq",
                                          "use_qkv_bias",
                                          "use_bias",
                                          "bias",
                                          "o_bias",
                                          "lm_head_bias",
                                          "add_cross_attention",
                                          "is_encoder_decoder",
                                          "tie_encoder_decoder",
                                          "cross_attention_hidden_size",
                                          "encoder",
                                          "decoder",
                                          "pruned_heads"};
// The same, where 1 is neutral too: factors.
constexpr const char* kMustBeOne[] = {"partial_rotary_factor",
                                      "rotary_pct",
                                      "rope_pct",
                                      "rope_ratio",
                                      "embedding_multiplier",
                                      "residual_multiplier",
                                      "attention_multiplier",
                                      "logits_scaling",
                                      "logit_scale",
                                      "scale_emb",
                                      "scale_depth",
                                      "dim_model_base",
                                      "embedding_scale",
                                      "query_pre_attn_scalar",
                                      "attention_scale"};
// Book-keeping of Transformers and of training, and generation parameters (generation_config.json has them).
constexpr const char* kIgnored[] = {"transformers_version",
                                    "name_or_path",
                                    "attn_implementation",
                                    "auto_map",
                                    "custom_pipelines",
                                    "is_llama_config",
                                    "tokenizer_class",
                                    "prefix",
                                    "task_specific_params",
                                    "finetuning_task",
                                    "id2label",
                                    "label2id",
                                    "num_labels",
                                    "problem_type",
                                    "return_dict",
                                    "use_return_dict",
                                    "return_dict_in_generate",
                                    "output_attentions",
                                    "output_hidden_states",
                                    "output_scores",
                                    "torchscript",
                                    "use_bfloat16",
                                    "tf_legacy_loss",
                                    "chunk_size_feed_forward",
                                    "is_decoder",
                                    "use_cache",
                                    "initializer_range",
                                    "attention_dropout",
                                    "attn_pdrop",
                                    "resid_pdrop",
                                    "embd_pdrop",
                                    "hidden_dropout",
                                    "dropout",
                                    "classifier_dropout",
                                    "residual_dropout",
                                    "embedding_dropout",
                                    "gradient_checkpointing",
                                    "use_flash_attn",
                                    "use_flash_attention",
                                    "use_cache_quantization",
                                    "use_cache_kernel",
                                    "pretraining_tp",
                                    "pad_token_id",
                                    "unk_token_id",
                                    "sep_token_id",
                                    "cls_token_id",
                                    "mask_token_id",
                                    "decoder_start_token_id",
                                    "vocab_type",
                                    "model_max_length",
                                    "max_sequence_length",
                                    "max_seq_len",
                                    "seq_length",
                                    "tokenizer_model_max_length",
                                    "unsloth_version",
                                    "unsloth_fixed",
                                    "bos_token",
                                    "eos_token",
                                    "pad_token",
                                    "neftune_alpha",
                                    "transformers.js_config",
                                    "base_model_name",
                                    "model_name",
                                    "license",
                                    "tie_last_hidden_states",
                                    "torch_dtype",
                                    "dtype",
                                    "assistant_confidence_threshold",
                                    "assistant_lookbehind",
                                    "bad_words_ids",
                                    "begin_suppress_tokens",
                                    "diversity_penalty",
                                    "do_sample",
                                    "early_stopping",
                                    "encoder_no_repeat_ngram_size",
                                    "encoder_repetition_penalty",
                                    "epsilon_cutoff",
                                    "eta_cutoff",
                                    "exponential_decay_length_penalty",
                                    "forced_bos_token_id",
                                    "forced_eos_token_id",
                                    "length_penalty",
                                    "max_length",
                                    "max_new_tokens",
                                    "min_length",
                                    "no_repeat_ngram_size",
                                    "num_assistant_tokens",
                                    "num_assistant_tokens_schedule",
                                    "num_beam_groups",
                                    "num_beams",
                                    "num_return_sequences",
                                    "remove_invalid_values",
                                    "repetition_penalty",
                                    "suppress_tokens",
                                    "target_lookbehind",
                                    "temperature",
                                    "top_k",
                                    "top_p",
                                    "typical_p"};

base::Status ReadRopeObject(ConfigObject& rope, DecoderConfig* config) {
  FT_ASSIGN_OR_RETURN(std::string type, rope.StringOr("rope_type", ""));
  FT_ASSIGN_OR_RETURN(const std::string old_type, rope.StringOr("type", ""));
  if (!type.empty() && !old_type.empty() && type != old_type)
    return base::BadInput("{}: \"rope_type\" {} and \"type\" {} differ", rope.where(), type, old_type);
  if (type.empty()) type = old_type.empty() ? "default" : old_type;
  FT_ASSIGN_OR_RETURN(config->rope.theta, rope.NumberOr("rope_theta", config->rope.theta));
  FT_RETURN_IF_ERROR(rope.RequireNeutral("partial_rotary_factor", true));
  if (type == "default") {
    FT_RETURN_IF_ERROR(rope.RequireNeutral("factor", true));
    return rope.RefuseUnknown();
  }
  if (type != "linear" && type != "llama3")
    return base::BadInput("{}: rope scaling of type \"{}\" is not supported (default, linear, llama3 are)",
                          rope.where(), type);
  if (!rope.Has("factor")) return base::BadInput("{}: \"factor\" is missing", rope.where());
  FT_ASSIGN_OR_RETURN(config->rope.factor, rope.NumberOr("factor", 1.0));
  if (type == "linear") {
    config->rope.scaling = RopeConfig::Scaling::kLinear;
    return rope.RefuseUnknown();
  }
  config->rope.scaling = RopeConfig::Scaling::kLlama3;
  for (const char* key : {"low_freq_factor", "high_freq_factor"})
    if (!rope.Has(key)) return base::BadInput("{}: \"{}\" is missing", rope.where(), key);
  FT_ASSIGN_OR_RETURN(config->rope.low_freq_factor, rope.NumberOr("low_freq_factor", 1.0));
  FT_ASSIGN_OR_RETURN(config->rope.high_freq_factor, rope.NumberOr("high_freq_factor", 4.0));
  if (!(config->rope.low_freq_factor > 0.0) ||
      !(config->rope.high_freq_factor > config->rope.low_freq_factor))
    return base::BadInput(
        "{}: \"low_freq_factor\" {} and \"high_freq_factor\" {} must satisfy 0 < low < high", rope.where(),
        config->rope.low_freq_factor, config->rope.high_freq_factor);
  FT_ASSIGN_OR_RETURN(config->rope.original_max_position,
                      rope.PositiveOr("original_max_position_embeddings", config->max_positions));
  return rope.RefuseUnknown();
}

base::Status ReadRope(ConfigObject& json, DecoderConfig* config) {
  FT_ASSIGN_OR_RETURN(config->rope.theta, json.NumberOr("rope_theta", 10000.0));
  FT_ASSIGN_OR_RETURN(std::unique_ptr<ConfigObject> old_style, json.Object("rope_scaling"));
  FT_ASSIGN_OR_RETURN(std::unique_ptr<ConfigObject> new_style, json.Object("rope_parameters"));
  if (old_style) FT_RETURN_IF_ERROR(ReadRopeObject(*old_style, config));
  if (new_style) {
    const RopeConfig before = config->rope;
    FT_RETURN_IF_ERROR(ReadRopeObject(*new_style, config));
    if (old_style && (before.scaling != config->rope.scaling || before.factor != config->rope.factor))
      return base::BadInput("{}: \"rope_scaling\" and \"rope_parameters\" differ", json.where());
  }
  if (config->rope.scaling == RopeConfig::Scaling::kLlama3) {
    FT_ASSIGN_OR_RETURN(
        config->rope.original_max_position,
        json.PositiveOr("original_max_position_embeddings", config->rope.original_max_position));
  } else {
    FT_RETURN_IF_ERROR(json.RequireNeutral("original_max_position_embeddings", false));
  }
  return base::OkStatus();
}

base::Result<const Family*> FindFamily(ConfigObject& json, const std::vector<const Family*>& families) {
  FT_ASSIGN_OR_RETURN(const std::string type, json.StringOr("model_type", ""));
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> architectures, json.StringsOr("architectures"));
  if (type.empty() && architectures.empty())
    return base::BadInput("{}: \"model_type\" is missing", json.where());
  std::string known;
  for (const Family* family : families) {
    known += (known.empty() ? "" : ", ") + std::string(family->model_type);
    bool listed = architectures.empty();
    for (const char* name : family->architectures)
      listed = listed || (architectures.size() == 1 && architectures[0] == name);
    if (type == family->model_type && !listed)
      return base::BadInput("{}: \"architectures\" names {}, but only {} of a {} model is supported",
                            json.where(), architectures[0], family->architectures[0], type);
    if (type == family->model_type || (type.empty() && listed)) return family;
  }
  return base::BadInput("{}: the model type \"{}\" is not supported (supported: {})", json.where(),
                        type.empty() ? architectures[0] : type, known);
}

}  // namespace

base::Result<DecoderConfig> ReadJsonConfig(std::string_view text,
                                           const std::vector<const Family*>& families) {
  FT_ASSIGN_OR_RETURN(ConfigObject json, ConfigObject::Parse(text, "config.json"));
  FT_ASSIGN_OR_RETURN(const Family* family, FindFamily(json, families));
  DecoderConfig c;
  c.family = family->model_type;
  FT_ASSIGN_OR_RETURN(c.vocab_size, json.Positive("vocab_size"));
  FT_ASSIGN_OR_RETURN(c.hidden_size, json.Positive("hidden_size"));
  FT_ASSIGN_OR_RETURN(c.intermediate_size, json.Positive("intermediate_size"));
  FT_ASSIGN_OR_RETURN(c.num_layers, json.Positive("num_hidden_layers"));
  if (c.num_layers > 4096)
    return base::BadInput("config.json: \"num_hidden_layers\" {} is more than 4096", c.num_layers);
  FT_ASSIGN_OR_RETURN(c.num_heads, json.Positive("num_attention_heads"));
  if (family->requires_kv_heads && !json.IsNull("num_key_value_heads"))
    FT_RETURN_IF_ERROR(json.Positive("num_key_value_heads").status());
  FT_ASSIGN_OR_RETURN(c.num_kv_heads, json.PositiveOr("num_key_value_heads", c.num_heads));
  if (json.Has("head_dim")) {
    FT_ASSIGN_OR_RETURN(c.head_dim, json.Positive("head_dim"));
  } else {
    if (c.hidden_size % c.num_heads != 0 && c.family != "qwen3")
      return base::BadInput("config.json: \"hidden_size\" {} does not divide into {} heads", c.hidden_size,
                            c.num_heads);
    c.head_dim = c.hidden_size / c.num_heads;
  }
  FT_ASSIGN_OR_RETURN(c.max_positions,
                      json.PositiveOr("max_position_embeddings", family->default_max_positions));
  FT_ASSIGN_OR_RETURN(c.norm_eps, json.NumberOr("rms_norm_eps", 1e-6));
  FT_ASSIGN_OR_RETURN(c.tie_word_embeddings, json.BoolOr("tie_word_embeddings", false));
  FT_ASSIGN_OR_RETURN(c.eos_ids, json.IntsOr("eos_token_id"));
  const bool llama_defaults = c.family == "llama" || c.family == "mistral";
  if (c.eos_ids.empty() && llama_defaults && !json.IsNull("eos_token_id") && c.vocab_size > 2)
    c.eos_ids = {2};
  FT_ASSIGN_OR_RETURN(
      c.bos_id, json.IntOr("bos_token_id",
                           llama_defaults && !json.IsNull("bos_token_id") && c.vocab_size > 1 ? 1 : -1));
  FT_RETURN_IF_ERROR(ReadRope(json, &c));
  for (const char* key : {"hidden_act", "hidden_activation"}) {
    FT_ASSIGN_OR_RETURN(const std::string activation, json.StringOr(key, "silu"));
    if (activation != "silu" && activation != "swish")
      return base::BadInput("config.json: \"{}\": \"{}\" is not supported (silu is)", key, activation);
  }
  FT_ASSIGN_OR_RETURN(const std::string positions, json.StringOr("position_embedding_type", "rope"));
  if (positions != "rope" && positions != "absolute")
    return base::BadInput("config.json: \"position_embedding_type\": \"{}\" is not supported", positions);
  FT_ASSIGN_OR_RETURN(const int64_t slices, json.PositiveOr("reduction_slices", 0));
  FT_RETURN_IF_ERROR(family->read(json, &c));
  for (const char* key : kMustBeNeutral) FT_RETURN_IF_ERROR(json.RequireNeutral(key, false));
  for (const char* key : kMustBeOne) FT_RETURN_IF_ERROR(json.RequireNeutral(key, true));
  for (const char* key : kIgnored) json.Ignore(key);
  FT_RETURN_IF_ERROR(json.RefuseUnknown());
  base::Result<DecoderConfig> result = FinishConfig(std::move(c), slices);
  if (!result.ok()) return base::BadInput("config.json: {}", result.status().message().substr(8));
  return result;
}

}  // namespace fusiontree::models
