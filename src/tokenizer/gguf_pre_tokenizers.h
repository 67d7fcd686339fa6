// The pre-tokenisers that GGUF files name in tokenizer.ggml.pre.
#ifndef FUSIONTREE_TOKENIZER_GGUF_PRE_TOKENIZERS_H_
#define FUSIONTREE_TOKENIZER_GGUF_PRE_TOKENIZERS_H_

#include <span>
#include <string_view>

namespace fusiontree::tokenizer {

struct GgufPreTokenizer {
  std::span<const std::string_view> patterns;  // each cuts what the one before left; Isolated
  bool nfc = false;  // llama.cpp leaves the normaliser of the original out, we do not
  bool ignore_merges = false;
  bool add_bos = false;  // unless tokenizer.ggml.add_bos_token says otherwise
};

// Null for an unknown name.
const GgufPreTokenizer* FindGgufPreTokenizer(std::string_view name);

// Hugging Face's patterns, which the names stand for.
extern const std::string_view kQwen2Pattern;
extern const std::string_view kLlama3Pattern;

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_GGUF_PRE_TOKENIZERS_H_
