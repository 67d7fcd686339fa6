// A tiny model with a tokenizer, as a Hugging Face folder: random weights, two layers, one token for each
// byte and a few special ones. Its text is noise, but every command can run on it.
#ifndef FUSIONTREE_TESTS_TINY_MODEL_H_
#define FUSIONTREE_TESTS_TINY_MODEL_H_

#include <cstdint>
#include <string>

namespace fusiontree {

constexpr int kTinyContext = 256;
constexpr int kTinyVocabulary = 260;  // 256 bytes, <|end|>, <|user|>, <|assistant|>, <|system|>

struct ModelShape {
  int64_t hidden = 64, mlp = 96, heads = 4, kv_heads = 2, layers = 2;
  int64_t vocabulary = kTinyVocabulary;  // a larger one has ids that no text comes to
};
// Makes the folder (which must not exist) and its files.
void WriteTinyModel(const std::string& folder, bool with_tokenizer = true, bool with_template = true,
                    const ModelShape& shape = {});
void WriteText(const std::string& path, const std::string& text);

}  // namespace fusiontree

#endif  // FUSIONTREE_TESTS_TINY_MODEL_H_
