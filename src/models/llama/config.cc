// Llama 2 and 3.x, SmolLM2, TinyLlama: no windows, biases only when asked for.
#include "models/decoder/family.h"

namespace fusiontree::models {
namespace {

base::Status Read(ConfigObject& json, DecoderConfig* config) {
  FT_ASSIGN_OR_RETURN(config->qkv_bias, json.BoolOr("attention_bias", false));
  FT_ASSIGN_OR_RETURN(config->mlp_bias, json.BoolOr("mlp_bias", false));
  config->o_bias = config->qkv_bias;
  for (const char* key : {"sliding_window", "use_sliding_window", "qkv_bias"})
    FT_RETURN_IF_ERROR(json.RequireNeutral(key, false));
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> types, json.StringsOr("layer_types"));
  for (const std::string& type : types)
    if (type != "full_attention")
      return base::BadInput("{}: \"layer_types\" names \"{}\", which Llama does not have", json.where(),
                            type);
  return base::OkStatus();
}

base::Status ReadGguf(const checkpoint::Metadata&, DecoderConfig*) { return base::OkStatus(); }

}  // namespace

const Family& LlamaFamily() {
  static const Family family = {"llama", {"LlamaForCausalLM", "LLaMAForCausalLM"}, "llama", 2048, false, Read,
                                ReadGguf};
  return family;
}

}  // namespace fusiontree::models
