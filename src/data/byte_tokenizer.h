// For tests and fuzz targets: a tokenizer of bytes that can render conversations.
#ifndef FUSIONTREE_DATA_BYTE_TOKENIZER_H_
#define FUSIONTREE_DATA_BYTE_TOKENIZER_H_

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/check.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::data {

inline constexpr const char* kByteTemplate =
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

// Id b is byte b; 256 is <|end|>, the end of a text, then come <|user|> and <|assistant|>.
inline tokenizer::Tokenizer ByteTokenizer(const std::string& chat_template = kByteTemplate) {
  nlohmann::json file, config;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    tokenizer::AppendByteLevel(std::string(1, static_cast<char>(byte)), &character);
    file["model"]["vocab"][character] = byte;
  }
  file["model"]["type"] = "BPE";
  file["model"]["merges"] = nlohmann::json::array();
  int id = 256;
  for (const char* special : {"<|end|>", "<|user|>", "<|assistant|>"})
    file["added_tokens"].push_back({{"id", id++}, {"content", special}, {"special", true}});
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  file["decoder"] = {{"type", "ByteLevel"}};
  config["eos_token"] = "<|end|>";
  config["chat_template"] = chat_template;
  auto tokenizer = tokenizer::Tokenizer::FromJson(file.dump(), config.dump());
  FT_CHECK(tokenizer.ok());
  return std::move(tokenizer).value();
}

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_BYTE_TOKENIZER_H_
