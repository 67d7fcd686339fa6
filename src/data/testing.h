// For the tests of this folder: a folder of their own, and a tokenizer of bytes.
#ifndef FUSIONTREE_DATA_TESTING_H_
#define FUSIONTREE_DATA_TESTING_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::data {

class TempFolder : public testing::Test {
 protected:
  TempFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "fusiontree-data-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~TempFolder() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  std::string Slurp(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string folder_;
};

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
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return std::move(tokenizer).value();
}

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_TESTING_H_
