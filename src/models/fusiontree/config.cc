#include "models/fusiontree/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/config_object.h"

namespace fusiontree::models {
namespace {

constexpr int64_t kMostSize = 1 << 24;  // keeps every product of two sizes far below 2^63
constexpr int64_t kMostStates = 1024;
constexpr int64_t kMostKernel = 64;
constexpr int64_t kMostPositions = 1 << 24;  // fp32 tells positions apart up to here

template <typename T>
base::Result<T> Choice(ConfigObject& json, const char* key, const char* fallback,
                       const std::vector<std::pair<const char*, T>>& choices) {
  FT_ASSIGN_OR_RETURN(const std::string given, json.StringOr(key, fallback));
  std::string known;
  for (const auto& [name, value] : choices) {
    if (given == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  return base::BadInput("config.json: \"{}\": \"{}\" is none of {}", key, given, known);
}

base::Result<int64_t> Within(ConfigObject& json, const char* key, int64_t fallback, int64_t least,
                             int64_t most) {
  FT_ASSIGN_OR_RETURN(const int64_t value, json.IntOr(key, fallback));
  if (value < least || value > most)
    return base::BadInput("config.json: \"{}\" is {}, expected {} to {}", key, value, least, most);
  return value;
}

base::Result<int64_t> Required(ConfigObject& json, const char* key, int64_t least, int64_t most) {
  FT_RETURN_IF_ERROR(json.Int(key).status());
  return Within(json, key, 0, least, most);
}

base::Status ReadWindows(ConfigObject& json, FusionTreeConfig* c) {
  FT_ASSIGN_OR_RETURN(const int64_t window, Required(json, "window_size", 1, kMostPositions));
  FT_ASSIGN_OR_RETURN(const int64_t base, Within(json, "base_window", window, 1, kMostPositions));
  FT_ASSIGN_OR_RETURN(const bool pyramidal, Choice<bool>(json, "attention_type", "local_global",
                                                         {{"local_global", false}, {"pyramidal", true}}));
  if (!pyramidal && base != window)
    return base::BadInput(
        "config.json: \"base_window\" {} differs from \"window_size\" {} but \"attention_type\" is not "
        "pyramidal",
        base, window);
  c->pyramidal = pyramidal;
  c->base_window = base == window ? 0 : base;
  for (int64_t i = 0; i < c->num_layers; ++i) c->windows.push_back(c->WindowOf(i, window));
  return base::OkStatus();
}

base::Status ReadHeads(ConfigObject& json, FusionTreeConfig* c) {
  FT_ASSIGN_OR_RETURN(c->num_heads, Required(json, "num_attention_heads", 1, kMostSize));
  FT_ASSIGN_OR_RETURN(c->num_kv_heads, Required(json, "num_key_value_heads", 1, kMostSize));
  if (c->num_heads % c->num_kv_heads != 0)
    return base::BadInput(
        "config.json: \"num_attention_heads\" {} cannot share \"num_key_value_heads\" {} evenly",
        c->num_heads, c->num_kv_heads);
  if (c->group() > 64)
    return base::BadInput("config.json: {} query heads for each key/value head are more than 64", c->group());
  if (!json.Has("head_dim") && c->hidden_size % c->num_heads != 0)
    return base::BadInput(
        "config.json: \"hidden_size\" {} does not divide into {} heads, and \"head_dim\" is missing",
        c->hidden_size, c->num_heads);
  FT_ASSIGN_OR_RETURN(c->head_dim, Within(json, "head_dim", c->hidden_size / c->num_heads, 1, 256));
  if (c->head_dim % 2 != 0) return base::BadInput("config.json: a head size of {} is not even", c->head_dim);
  FT_ASSIGN_OR_RETURN(c->global_heads, Required(json, "global_heads", 0, kMostSize));
  if (c->global_heads > c->num_heads)
    return base::BadInput("config.json: \"global_heads\" {} is more than the {} heads", c->global_heads,
                          c->num_heads);
  if (c->global_heads % c->group() != 0)
    return base::BadInput(
        "config.json: \"global_heads\" {} is not a multiple of {}: a key/value head would serve local "
        "and global heads",
        c->global_heads, c->group());
  FT_ASSIGN_OR_RETURN(c->rope_theta, json.NumberOr("rope_theta", 10000.0));
  if (!(c->rope_theta > 0.0) || c->rope_theta > 1e15)
    return base::BadInput("config.json: \"rope_theta\" {} is out of range", c->rope_theta);
  return base::OkStatus();
}

base::Status ReadLayerTypes(ConfigObject& json, FusionTreeConfig* c) {
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> names, json.StringsOr("layer_types"));
  if (names.empty()) {
    c->layer_types.assign(static_cast<size_t>(c->num_layers), LayerType::kHybrid);
    return base::OkStatus();
  }
  if (static_cast<int64_t>(names.size()) != c->num_layers)
    return base::BadInput("config.json: \"layer_types\" has {} entries for {} layers", names.size(),
                          c->num_layers);
  for (const std::string& name : names) {
    bool known = false;
    for (const LayerType type :
         {LayerType::kHybrid, LayerType::kMamba, LayerType::kAttention, LayerType::kLocal}) {
      if (name != LayerTypeName(type)) continue;
      c->layer_types.push_back(type);
      known = true;
    }
    if (!known)
      return base::BadInput("config.json: \"layer_types\": \"{}\" is none of hybrid, mamba, attention, local",
                            name);
    if (c->layer_types.back() == LayerType::kLocal && c->local_heads() == 0)
      return base::BadInput(
          "config.json: \"layer_types\": a local layer of a model whose heads are all global has no "
          "heads: that is \"mamba\"");
  }
  return base::OkStatus();
}

base::Status ReadMixer(ConfigObject& json, FusionTreeConfig* c) {
  FT_ASSIGN_OR_RETURN(c->state_size, Within(json, "ssm_state_size", 16, 1, kMostStates));
  FT_ASSIGN_OR_RETURN(c->conv_kernel, Within(json, "conv_kernel", 4, 0, kMostKernel));
  FT_ASSIGN_OR_RETURN(c->expand, Within(json, "expand", 2, 1, 64));
  c->inner = c->expand * c->hidden_size;
  FT_ASSIGN_OR_RETURN(c->time_step_rank,
                      Within(json, "time_step_rank", (c->hidden_size + 15) / 16, 1, c->inner));
  FT_ASSIGN_OR_RETURN(c->ssm_norm, json.BoolOr("ssm_norm", false));
  FT_ASSIGN_OR_RETURN(c->srte, Choice<TimeEncoding>(json, "srte_encoding", "sincos",
                                                    {{"sincos", TimeEncoding::kSincos},
                                                     {"learnable", TimeEncoding::kLearnable},
                                                     {"factorized", TimeEncoding::kFactorized},
                                                     {"none", TimeEncoding::kNone}}));
  FT_ASSIGN_OR_RETURN(c->srte_rank, Within(json, "srte_rank", 64, 1, kMostSize));
  FT_ASSIGN_OR_RETURN(c->srte_shared, json.BoolOr("srte_share_across_layers", true));
  FT_ASSIGN_OR_RETURN(c->table_positions, Within(json, "max_position_embeddings", 32768, 1, kMostPositions));
  if (c->srte == TimeEncoding::kSincos && c->hidden_size % 2 != 0)
    return base::BadInput("config.json: \"hidden_size\" {} is odd, which \"srte_encoding\" sincos cannot be",
                          c->hidden_size);
  return base::OkStatus();
}

// S of R2: of the unpruned shapes.
bool ValidSlices(const FusionTreeConfig& c, int64_t s) {
  return c.num_heads % s == 0 && c.inner % s == 0 && c.hidden_size % s == 0 &&
         (c.num_kv_heads % s == 0 || s % c.num_kv_heads == 0);
}

base::Status ReadSlices(ConfigObject& json, FusionTreeConfig* c) {
  FT_ASSIGN_OR_RETURN(const int64_t given, Within(json, "reduction_slices", 0, 0, 8));
  c->reduction_slices = given ? given : 8;
  if (given && !ValidSlices(*c, given))
    return base::BadInput(
        "config.json: \"reduction_slices\" {} does not divide the heads and widths of this model", given);
  while (!ValidSlices(*c, c->reduction_slices)) --c->reduction_slices;
  return base::OkStatus();
}

base::Status ReadTokens(ConfigObject& json, FusionTreeConfig* c) {
  FT_ASSIGN_OR_RETURN(c->eos_ids, json.IntsOr("eos_token_id"));
  FT_ASSIGN_OR_RETURN(c->bos_id, json.IntOr("bos_token_id", -1));
  FT_ASSIGN_OR_RETURN(const int64_t pad, json.IntOr("pad_token_id", -1));
  std::vector<std::pair<const char*, int64_t>> ids = {{"bos_token_id", c->bos_id}, {"pad_token_id", pad}};
  for (const int64_t id : c->eos_ids) ids.emplace_back("eos_token_id", id);
  for (const auto& [key, id] : ids)
    if (id < -1 || id >= c->vocab_size || (id == -1 && json.Has(key) && !json.IsNull(key)))
      return base::BadInput("config.json: \"{}\" {} is outside the vocabulary of {}", key, id, c->vocab_size);
  return base::OkStatus();
}

}  // namespace

bool FusionTreeConfig::AnyMamba() const {
  return std::any_of(layer_types.begin(), layer_types.end(),
                     [](LayerType type) { return type != LayerType::kAttention; });
}

int64_t FusionTreeConfig::WindowOf(int64_t layer, int64_t window_size) const {
  const int64_t n = num_layers - 1, base = base_window == 0 ? window_size : base_window;
  // floor(base + (window - base) i / n + 1/2)
  return !pyramidal || n == 0 ? window_size : (2 * base * n + 2 * (window_size - base) * layer + n) / (2 * n);
}

const char* LayerTypeName(LayerType type) {
  switch (type) {
    case LayerType::kHybrid:
      return "hybrid";
    case LayerType::kMamba:
      return "mamba";
    case LayerType::kAttention:
      return "attention";
    case LayerType::kLocal:
      return "local";
  }
  return "";
}

base::Result<FusionTreeConfig> ReadFusionTreeConfig(std::string_view text) {
  FT_ASSIGN_OR_RETURN(ConfigObject json, ConfigObject::Parse(text, "config.json"));
  FT_ASSIGN_OR_RETURN(const std::string type, json.StringOr("model_type", ""));
  if (type != "fusiontree")
    return base::BadInput("config.json: \"model_type\" is \"{}\", expected fusiontree", type);
  FusionTreeConfig c;
  c.family = type;
  FT_ASSIGN_OR_RETURN(c.vocab_size, Required(json, "vocab_size", 1, kMostSize));
  FT_ASSIGN_OR_RETURN(c.hidden_size, Required(json, "hidden_size", 1, 1 << 20));
  FT_ASSIGN_OR_RETURN(c.num_layers, Required(json, "num_hidden_layers", 1, 4096));
  FT_RETURN_IF_ERROR(ReadHeads(json, &c));
  FT_RETURN_IF_ERROR(ReadWindows(json, &c));
  FT_RETURN_IF_ERROR(ReadLayerTypes(json, &c));
  FT_RETURN_IF_ERROR(ReadMixer(json, &c));
  FT_ASSIGN_OR_RETURN(c.attn_conv_kernel, Within(json, "attn_conv_kernel", 4, 0, kMostKernel));
  FT_ASSIGN_OR_RETURN(c.branch_norm, json.BoolOr("branch_norm", true));
  FT_ASSIGN_OR_RETURN(c.gate_rank, Required(json, "gate_rank", 1, kMostSize));
  FT_ASSIGN_OR_RETURN(
      c.gate, Choice<GateKind>(
                  json, "gate_granularity", "channel",
                  {{"channel", GateKind::kChannel}, {"token", GateKind::kToken}, {"none", GateKind::kNone}}));
  FT_ASSIGN_OR_RETURN(
      c.serial, Choice<bool>(json, "branch_layout", "parallel", {{"parallel", false}, {"serial", true}}));
  FT_ASSIGN_OR_RETURN(
      c.layer_norm, Choice<bool>(json, "norm_type", "layernorm", {{"layernorm", true}, {"rmsnorm", false}}));
  FT_ASSIGN_OR_RETURN(c.norm_eps, json.NumberOr("norm_eps", 1e-5));
  if (!(c.norm_eps > 0.0) || c.norm_eps > 1.0)
    return base::BadInput("config.json: \"norm_eps\" {} is out of range", c.norm_eps);
  FT_ASSIGN_OR_RETURN(c.post_norm,
                      Choice<bool>(json, "residual_norm", "none", {{"none", false}, {"post", true}}));
  FT_ASSIGN_OR_RETURN(c.aligned, json.BoolOr("use_alignment", true));
  FT_ASSIGN_OR_RETURN(c.tie_word_embeddings, json.BoolOr("tie_word_embeddings", true));
  FT_ASSIGN_OR_RETURN(c.initializer_range, json.NumberOr("initializer_range", 0.02));
  if (!(c.initializer_range > 0.0) || c.initializer_range > 10.0)
    return base::BadInput("config.json: \"initializer_range\" {} is out of range", c.initializer_range);
  for (const auto& [key, value] : {std::pair("dropout", &c.dropout), {"drop_branch_prob", &c.drop_branch}}) {
    FT_ASSIGN_OR_RETURN(const double probability, json.NumberOr(key, 0.0));
    if (!(probability >= 0.0) || probability >= 1.0)
      return base::BadInput("config.json: \"{}\" {} is not a probability below 1", key, probability);
    *value = probability;
  }
  FT_RETURN_IF_ERROR(ReadTokens(json, &c));
  FT_RETURN_IF_ERROR(ReadSlices(json, &c));
  for (const char* key :
       {"architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache"})
    json.Ignore(key);
  FT_RETURN_IF_ERROR(json.RefuseAllUnknown());
  c.usual_positions = c.table_positions;
  c.max_positions = c.LearntTable() && c.AnyMamba() ? c.table_positions : kMostPositions;
  return c;
}

}  // namespace fusiontree::models
