// Which families this build knows.
#include <vector>

#include "models/config_object.h"
#include "models/decoder/family.h"
#include "models/decoder/read_config.h"
#include "models/decoder/spec.h"
#include "models/fusiontree/spec.h"
#include "models/mamba/model.h"
#include "models/spec.h"

namespace fusiontree::models {
namespace {

const std::vector<const Family*>& Families() {
  static const std::vector<const Family*> families = {&Qwen2Family(), &Qwen3Family(), &LlamaFamily(),
                                                      &MistralFamily()};
  return families;
}

base::Result<std::string> ModelType(std::string_view text) {
  FT_ASSIGN_OR_RETURN(ConfigObject json, ConfigObject::Parse(text, "config.json"));
  return json.StringOr("model_type", "");
}

}  // namespace

base::Result<std::unique_ptr<Spec>> ReadSpec(std::string_view text) {
  FT_ASSIGN_OR_RETURN(const std::string type, ModelType(text));
  if (type == "fusiontree") {
    FT_ASSIGN_OR_RETURN(FusionTreeConfig config, ReadFusionTreeConfig(text));
    return std::unique_ptr<Spec>(new FusionTreeSpec(std::move(config)));
  }
  if (type == "mamba") {
    FT_ASSIGN_OR_RETURN(MambaConfig config, ReadMambaConfig(text));
    return std::unique_ptr<Spec>(new MambaSpec(std::move(config)));
  }
  FT_ASSIGN_OR_RETURN(DecoderConfig config, ReadJsonConfig(text, Families()));
  return std::unique_ptr<Spec>(new DecoderSpec(std::move(config)));
}

base::Result<std::unique_ptr<Spec>> ReadSpec(const checkpoint::Checkpoint& checkpoint) {
  if (checkpoint.format() == checkpoint::Checkpoint::Format::kGguf) {
    FT_ASSIGN_OR_RETURN(DecoderConfig config, ReadGgufConfig(checkpoint, Families()));
    return std::unique_ptr<Spec>(new DecoderSpec(std::move(config)));
  }
  FT_ASSIGN_OR_RETURN(const std::optional<std::string> text, checkpoint.ReadText("config.json"));
  if (!text) return base::BadInput("{}: config.json is missing", checkpoint.path());
  return ReadSpec(*text);
}

base::Result<std::unique_ptr<Model>> LoadModel(const checkpoint::Checkpoint& checkpoint,
                                               const ModelOptions& options, ops::Context& context) {
  FT_ASSIGN_OR_RETURN(const std::unique_ptr<Spec> spec, ReadSpec(checkpoint));
  if (!options.layer_plan.empty() && spec->config().family != "fusiontree")
    return base::BadInput("{}: a {} model has no layer plan", checkpoint.path(), spec->config().family);
  return spec->Load(checkpoint, options, context);
}

}  // namespace fusiontree::models
