// Reads tokenizer.json of Hugging Face `tokenizers` and the small files beside it.
#ifndef FUSIONTREE_TOKENIZER_JSON_READER_H_
#define FUSIONTREE_TOKENIZER_JSON_READER_H_

#include <string>
#include <string_view>

#include "base/status.h"
#include "tokenizer/parts.h"

namespace fusiontree::tokenizer {

// Each may be empty: the file is not there.
struct ConfigTexts {
  std::string tokenizer_config;
  std::string special_tokens_map;
  std::string chat_template_json;
};

base::Result<Parts> ReadTokenizerJson(std::string_view tokenizer_json, const ConfigTexts& configs);
inline base::Result<Parts> ReadTokenizerJson(std::string_view tokenizer_json,
                                             std::string_view tokenizer_config) {
  return ReadTokenizerJson(tokenizer_json, ConfigTexts{std::string(tokenizer_config), "", ""});
}

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_JSON_READER_H_
