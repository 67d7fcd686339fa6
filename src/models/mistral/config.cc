// Mistral: every layer slides unless sliding_window is null; no biases. Its GGUF files say "llama".
#include "models/decoder/family.h"

namespace fusiontree::models {
namespace {

base::Status Read(ConfigObject& json, DecoderConfig* config) {
  for (const char* key : {"attention_bias", "mlp_bias", "qkv_bias"})
    FT_RETURN_IF_ERROR(json.RequireNeutral(key, false));
  const bool none = json.IsNull("sliding_window");
  FT_ASSIGN_OR_RETURN(const int64_t window, json.PositiveOr("sliding_window", 4096));
  config->windows.assign(static_cast<size_t>(config->num_layers), none ? 0 : window);
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> types, json.StringsOr("layer_types"));
  for (const std::string& type : types)
    if (type != (none ? "full_attention" : "sliding_attention"))
      return base::BadInput("{}: \"layer_types\" names \"{}\", which contradicts \"sliding_window\"",
                            json.where(), type);
  return base::OkStatus();
}

base::Status ReadGguf(const checkpoint::Metadata&, DecoderConfig*) { return base::OkStatus(); }

}  // namespace

const Family& MistralFamily() {
  static const Family family = {"mistral", {"MistralForCausalLM"}, "", 131072, true, Read, ReadGguf};
  return family;
}

}  // namespace fusiontree::models
