// The steps of tokenizer.json around the model: normaliser, pre-tokeniser, decoder, post-processor.
#ifndef FUSIONTREE_TOKENIZER_JSON_STEPS_H_
#define FUSIONTREE_TOKENIZER_JSON_STEPS_H_

#include <nlohmann/json_fwd.hpp>

#include "base/status.h"
#include "tokenizer/parts.h"

namespace fusiontree::tokenizer {

// Each adds the steps of `value` to `parts`; `value` is what stands under the key of that name. An unknown
// type, an unknown key or a value of the wrong type is an error that names it.
base::Status ReadNormalizer(const nlohmann::json& value, Parts* parts);
base::Status ReadPreTokenizer(const nlohmann::json& value, Parts* parts);
base::Status ReadDecoder(const nlohmann::json& value, Parts* parts);
// Fills prefix and suffix; the ids must be in the vocabulary or among the added tokens.
base::Status ReadPostProcessor(const nlohmann::json& value, Parts* parts);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_JSON_STEPS_H_
