// Which families this build knows.
#include <vector>

#include "models/decoder/family.h"
#include "models/decoder/model.h"
#include "models/decoder/read_config.h"
#include "models/model.h"

namespace fusiontree::models {
namespace {

const std::vector<const Family*>& Families() {
  static const std::vector<const Family*> families = {&Qwen2Family(), &Qwen3Family(), &LlamaFamily(),
                                                      &MistralFamily()};
  return families;
}

}  // namespace

base::Result<DecoderConfig> ReadConfig(const checkpoint::Checkpoint& checkpoint) {
  if (checkpoint.format() == checkpoint::Checkpoint::Format::kGguf)
    return ReadGgufConfig(checkpoint, Families());
  FT_ASSIGN_OR_RETURN(const std::optional<std::string> text, checkpoint.ReadText("config.json"));
  if (!text) return base::BadInput("{}: config.json is missing", checkpoint.path());
  return ReadJsonConfig(*text, Families());
}

base::Result<std::unique_ptr<Model>> LoadModel(const checkpoint::Checkpoint& checkpoint,
                                               const ModelOptions& options, ops::Context& context) {
  FT_ASSIGN_OR_RETURN(DecoderConfig config, ReadConfig(checkpoint));
  return DecoderModel::Load(checkpoint, std::move(config), options, context);
}

}  // namespace fusiontree::models
