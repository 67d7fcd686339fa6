#include "models/mamba/config.h"

#include <fmt/format.h>

#include "models/config_object.h"

namespace fusiontree::models {
namespace {

constexpr int64_t kMostPositions = 1 << 24;

// What only training and generation know, and what the present code of Transformers no longer asks for.
const char* const kIgnored[] = {"architectures",
                                "auto_map",
                                "torch_dtype",
                                "dtype",
                                "transformers_version",
                                "use_cache",
                                "rescale_prenorm_residual",
                                "time_step_floor",
                                "time_step_init_scheme",
                                "time_step_max",
                                "time_step_min",
                                "time_step_scale",
                                "use_associative_scan",
                                "use_mambapy",
                                "pad_vocab_size_multiple",
                                "fused_add_norm",
                                "rms_norm",
                                "ssm_cfg",
                                "_name_or_path",
                                "output_attentions",
                                "output_hidden_states",
                                "return_dict",
                                "chunk_size_feed_forward",
                                "id2label",
                                "label2id",
                                "problem_type",
                                "pad_token_id"};

// D: intermediate_size where it is given (Transformers derives it), else expand · H.
base::Status ReadSizes(ConfigObject& json, MambaConfig* c) {
  FT_ASSIGN_OR_RETURN(c->vocab_size, json.Positive("vocab_size"));
  FT_ASSIGN_OR_RETURN(c->hidden_size, json.Positive("hidden_size"));
  FT_ASSIGN_OR_RETURN(c->num_layers, json.Positive("num_hidden_layers"));
  FT_ASSIGN_OR_RETURN(const int64_t expand, json.PositiveOr("expand", 2));
  FT_ASSIGN_OR_RETURN(c->inner, json.PositiveOr("intermediate_size", expand * c->hidden_size));
  FT_ASSIGN_OR_RETURN(c->state_size, json.PositiveOr("state_size", 16));
  FT_ASSIGN_OR_RETURN(c->conv_kernel, json.PositiveOr("conv_kernel", 4));
  const std::string automatic = "auto";
  const base::Result<std::string> rank = json.StringOr("time_step_rank", automatic);
  if (rank.ok()) {
    if (*rank != automatic)
      return base::BadInput("config.json: \"time_step_rank\" is \"{}\", expected a number or auto", *rank);
    c->time_step_rank = (c->hidden_size + 15) / 16;
  } else {
    FT_ASSIGN_OR_RETURN(c->time_step_rank, json.Positive("time_step_rank"));
  }
  const std::pair<const char*, std::pair<int64_t, int64_t>> limits[] = {
      {"vocab_size", {c->vocab_size, 1 << 24}},
      {"hidden_size", {c->hidden_size, 1 << 20}},
      {"num_hidden_layers", {c->num_layers, 4096}},
      {"intermediate_size", {c->inner, 1 << 24}},
      {"state_size", {c->state_size, 1024}},
      {"conv_kernel", {c->conv_kernel, 64}},
      {"time_step_rank", {c->time_step_rank, c->inner}}};
  for (const auto& [key, limit] : limits)
    if (limit.first > limit.second)
      return base::BadInput("config.json: \"{}\" {} is more than {}", key, limit.first, limit.second);
  return base::OkStatus();
}

}  // namespace

base::Result<MambaConfig> ReadMambaConfig(std::string_view text) {
  FT_ASSIGN_OR_RETURN(ConfigObject json, ConfigObject::Parse(text, "config.json"));
  MambaConfig c;
  FT_ASSIGN_OR_RETURN(c.family, json.StringOr("model_type", ""));
  FT_RETURN_IF_ERROR(ReadSizes(json, &c));
  c.max_positions = kMostPositions;
  c.usual_positions = 2048;  // what its checkpoints were trained on
  FT_ASSIGN_OR_RETURN(c.initializer_range, json.NumberOr("initializer_range", 0.1));
  if (!(c.initializer_range > 0.0) || c.initializer_range > 10.0)
    return base::BadInput("config.json: \"initializer_range\" {} is out of range", c.initializer_range);
  FT_ASSIGN_OR_RETURN(c.norm_eps, json.NumberOr("layer_norm_epsilon", 1e-5));
  if (!(c.norm_eps > 0.0) || c.norm_eps > 1.0)
    return base::BadInput("config.json: \"layer_norm_epsilon\" {} is out of range", c.norm_eps);
  FT_ASSIGN_OR_RETURN(c.use_bias, json.BoolOr("use_bias", false));
  FT_ASSIGN_OR_RETURN(c.use_conv_bias, json.BoolOr("use_conv_bias", true));
  FT_ASSIGN_OR_RETURN(c.tie_word_embeddings, json.BoolOr("tie_word_embeddings", true));
  FT_ASSIGN_OR_RETURN(const std::string activation, json.StringOr("hidden_act", "silu"));
  if (activation != "silu" && activation != "swish")
    return base::BadInput("config.json: \"hidden_act\": \"{}\" is not supported (silu is)", activation);
  // The residual stream is fp32 here whatever this says.
  FT_RETURN_IF_ERROR(json.BoolOr("residual_in_fp32", true).status());
  FT_ASSIGN_OR_RETURN(c.eos_ids, json.IntsOr("eos_token_id"));
  FT_ASSIGN_OR_RETURN(c.bos_id, json.IntOr("bos_token_id", -1));
  for (const int64_t id : c.eos_ids)
    if (id < 0 || id >= c.vocab_size)
      return base::BadInput("config.json: \"eos_token_id\" {} is outside the vocabulary of {}", id,
                            c.vocab_size);
  if (c.bos_id >= c.vocab_size)
    return base::BadInput("config.json: \"bos_token_id\" {} is outside the vocabulary of {}", c.bos_id,
                          c.vocab_size);
  FT_ASSIGN_OR_RETURN(const int64_t slices, json.IntOr("reduction_slices", 0));
  if (slices < 0 || slices > 8 || (slices > 0 && c.inner % slices != 0))
    return base::BadInput("config.json: reduction_slices {} does not divide the widths of this model",
                          slices);
  c.reduction_slices = slices ? slices : 8;
  while (c.inner % c.reduction_slices != 0) --c.reduction_slices;
  for (const char* key : kIgnored) json.Ignore(key);
  FT_RETURN_IF_ERROR(json.RefuseUnknown());
  return c;
}

}  // namespace fusiontree::models
