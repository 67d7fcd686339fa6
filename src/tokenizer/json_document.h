// tokenizer.json as it is read: the vocabulary and the merges (hundreds of thousands of entries) go straight
// to where they will stay, the rest becomes a small JSON value.
#ifndef FUSIONTREE_TOKENIZER_JSON_DOCUMENT_H_
#define FUSIONTREE_TOKENIZER_JSON_DOCUMENT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "tokenizer/bpe.h"
#include "tokenizer/vocabulary.h"

namespace fusiontree::tokenizer {

struct TokenizerDocument {
  nlohmann::json rest;  // without model.vocab (when that is an object) and model.merges
  MergeList merges;
  bool has_vocabulary = false;
  bool has_merges = false;
};

// Fills `vocabulary` too. Errors: not JSON, nested too deep, a key twice in an object, an id that is no
// integer or is twice there, a merge that is no pair.
base::Result<TokenizerDocument> ParseTokenizerDocument(std::string_view text, Vocabulary* vocabulary);

// One JSON object being read: typed look-ups with errors that name the path, and in the end the keys nobody
// asked for.
class JsonObject {
 public:
  // Error when `value` is no object.
  static base::Result<JsonObject> Of(const nlohmann::json& value, std::string path);

  const std::string& path() const { return path_; }
  // Null when the key is missing or null.
  const nlohmann::json* Find(const char* key);
  base::Result<bool> Bool(const char* key, bool fallback);
  base::Result<std::string> String(const char* key);  // required
  base::Result<std::string> StringOr(const char* key, std::string fallback);
  base::Result<int64_t> Integer(const char* key);              // required
  base::Result<const nlohmann::json*> Array(const char* key);  // required
  void Ignore(const char* key) { asked_.insert(key); }
  // Error that names the first key that was never asked for.
  base::Status CheckAllKnown() const;

 private:
  JsonObject(const nlohmann::json* value, std::string path) : value_(value), path_(std::move(path)) {}
  const nlohmann::json* value_;
  std::string path_;
  std::set<std::string> asked_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_JSON_DOCUMENT_H_
