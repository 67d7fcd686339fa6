// JSON from outside, parsed strictly. Includes nlohmann/json.hpp: for .cc files only.
#ifndef FUSIONTREE_BASE_JSON_H_
#define FUSIONTREE_BASE_JSON_H_

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/status.h"

namespace fusiontree::base {

constexpr size_t kMaxJsonDepth = 64;  // files of models reach about ten

// Refuses what the library would let pass: an empty text, bytes that are not UTF-8, and NUL, which it takes
// for the end of the text. Errors begin with "it".
Status CheckJsonText(std::string_view text);

// All of `text` as one value. Also refuses a key that an object has twice, of which the library keeps the
// last, and nesting deeper than kMaxJsonDepth. Errors begin with "it".
Result<nlohmann::json> ParseJson(std::string_view text);

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_JSON_H_
