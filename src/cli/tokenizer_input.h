// What the tokenizer commands share.
#ifndef FUSIONTREE_CLI_TOKENIZER_INPUT_H_
#define FUSIONTREE_CLI_TOKENIZER_INPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "report/json.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {

// The tokenizer of a folder or GGUF file; no weights are read.
base::Result<tokenizer::Tokenizer> LoadTokenizer(const std::string& model);
// Appends a JSON list.
void AppendIds(const std::vector<int32_t>& ids, report::Json* json);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_TOKENIZER_INPUT_H_
