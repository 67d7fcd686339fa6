#include "cli/tokens.h"

#include <filesystem>
#include <system_error>

#include "checkpoint/checkpoint.h"

namespace fusiontree::cli {

base::Result<tokenizer::Tokenizer> LoadTokenizer(const std::string& model) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::path(model) / "tokenizer.json", error))
    return tokenizer::Tokenizer::LoadFolder(model);
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(model));
  return tokenizer::Tokenizer::Load(checkpoint);
}

void AppendIds(const std::vector<int32_t>& ids, report::Json* json) {
  json->BeginArray();
  for (const int32_t id : ids) json->Integer(id);
  json->EndArray();
}

}  // namespace fusiontree::cli
