// Qwen2 and Qwen2.5: biases on q, k and v, never on o; some layers may slide.
#include "models/decoder/family.h"

namespace fusiontree::models {
namespace {

base::Status Read(ConfigObject& json, DecoderConfig* config) {
  FT_ASSIGN_OR_RETURN(const bool bias, json.BoolOr("attention_bias", true));
  if (!bias)
    return base::BadInput("{}: \"attention_bias\" is false, but Qwen2 always has q, k and v biases",
                          json.where());
  FT_RETURN_IF_ERROR(json.BoolOr("qkv_bias", true).status());
  FT_RETURN_IF_ERROR(json.RequireNeutral("mlp_bias", false));
  config->qkv_bias = true;
  return ReadQwenWindows(json, config);
}

base::Status ReadGguf(const checkpoint::Metadata&, DecoderConfig* config) {
  config->qkv_bias = true;
  return base::OkStatus();
}

}  // namespace

const Family& Qwen2Family() {
  static const Family family = {"qwen2", {"Qwen2ForCausalLM"}, "qwen2", 32768, true, Read, ReadGguf};
  return family;
}

base::Status ReadQwenWindows(ConfigObject& json, DecoderConfig* config) {
  FT_ASSIGN_OR_RETURN(const bool use, json.BoolOr("use_sliding_window", false));
  const bool none = json.IsNull("sliding_window");
  FT_ASSIGN_OR_RETURN(const int64_t window, json.PositiveOr("sliding_window", 4096));
  FT_ASSIGN_OR_RETURN(const int64_t full_layers, json.IntOr("max_window_layers", 28));
  FT_ASSIGN_OR_RETURN(const std::vector<std::string> types, json.StringsOr("layer_types"));
  const size_t layers = static_cast<size_t>(config->num_layers);
  if (!types.empty() && types.size() != layers)
    return base::BadInput("{}: \"layer_types\" has {} entries for {} layers", json.where(), types.size(),
                          layers);
  config->windows.assign(layers, 0);
  for (size_t i = 0; i < layers; ++i) {
    bool slides = use && !none && static_cast<int64_t>(i) >= full_layers;
    if (!types.empty()) {
      if (types[i] != "full_attention" && types[i] != "sliding_attention")
        return base::BadInput("{}: \"layer_types\" names \"{}\", which is not supported", json.where(),
                              types[i]);
      slides = types[i] == "sliding_attention";
      if (slides && (!use || none))
        return base::BadInput("{}: \"layer_types\" has sliding layers, but sliding windows are switched off",
                              json.where());
    }
    if (slides) config->windows[i] = window;
  }
  return base::OkStatus();
}

}  // namespace fusiontree::models
