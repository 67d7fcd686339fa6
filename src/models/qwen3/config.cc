// Qwen3: a head size of its own, RMSNorm on each query and key head, biases only when asked for.
#include "models/decoder/family.h"

namespace fusiontree::models {
namespace {

base::Status Read(ConfigObject& json, DecoderConfig* config) {
  if (json.IsNull("head_dim"))
    return base::BadInput("{}: \"head_dim\" is null, but Qwen3 needs one", json.where());
  if (!json.Has("head_dim")) config->head_dim = 128;
  FT_ASSIGN_OR_RETURN(config->qkv_bias, json.BoolOr("attention_bias", false));
  FT_RETURN_IF_ERROR(json.RequireNeutral("qkv_bias", false));
  FT_RETURN_IF_ERROR(json.RequireNeutral("mlp_bias", false));
  config->o_bias = config->qkv_bias;
  config->qk_norm = true;
  return ReadQwenWindows(json, config);
}

base::Status ReadGguf(const checkpoint::Metadata&, DecoderConfig* config) {
  config->qk_norm = true;
  return base::OkStatus();
}

}  // namespace

const Family& Qwen3Family() {
  static const Family family = {"qwen3", {"Qwen3ForCausalLM"}, "qwen3", 32768, true, Read, ReadGguf};
  return family;
}

}  // namespace fusiontree::models
