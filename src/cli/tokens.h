// What the tokenizer commands share.
#ifndef FUSIONTREE_CLI_TOKENS_H_
#define FUSIONTREE_CLI_TOKENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "report/json.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {

// The tokenizer of a folder, with or without a model in it, or of a .gguf file.
base::Result<tokenizer::Tokenizer> LoadTokenizer(const std::string& model);
// The ids as a JSON list.
void AppendIds(const std::vector<int32_t>& ids, report::Json* json);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_TOKENS_H_
