// All that a tokenizer is made of, as its readers (tokenizer.json, GGUF) fill it in.
#ifndef FUSIONTREE_TOKENIZER_PARTS_H_
#define FUSIONTREE_TOKENIZER_PARTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/decoder.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace fusiontree::tokenizer {

struct Parts {
  std::unique_ptr<Vocabulary> vocabulary = std::make_unique<Vocabulary>();  // the model holds a pointer to it
  std::unique_ptr<Model> model;
  std::vector<AddedToken> added;  // ids and contents unique; in the vocabulary or beside it
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Decoder decoder;
  std::vector<int32_t> prefix;  // ids put around a text when special tokens are added
  std::vector<int32_t> suffix;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> unk_id;
  std::optional<int32_t> pad_id;
  std::vector<int32_t> eos_ids;
  std::string chat_template;
  std::string description;  // "byte-level BPE, tokenizer.json"

  // The id of an added or vocabulary token, -1 when there is none.
  int32_t Find(std::string_view content) const {
    for (const AddedToken& token : added)
      if (token.content == content) return token.id;
    return vocabulary->Find(content);
  }
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_PARTS_H_
