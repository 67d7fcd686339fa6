// Ids and decoded text against Hugging Face `tokenizers` and SentencePiece: tools/make_tokenizer_golden.py.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tokenizer/tokenizer.h"

namespace fusiontree::tokenizer {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::string ReadFile(const std::string& name) {
  std::ifstream file(std::string(FUSIONTREE_TESTDATA) + "/tokenizer/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

constexpr const char* kFamilies[] = {"gpt2",
                                     "prefix_space",
                                     "qwen2",
                                     "llama3",
                                     "smollm2",
                                     "tekken",
                                     "nfkd_splits",
                                     "llama2",
                                     "mistral",
                                     "metaspace_unk",
                                     "whitespace_nodecoder"};

std::string Streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) text += decoder.Push(id);
  return text + decoder.Finish();
}

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string family = GetParam();
    base::Result<Tokenizer> loaded = Tokenizer::FromJson(ReadFile(family + ".json"), "");
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    tokenizer_.emplace(std::move(loaded).value());
    texts_ = json::parse(ReadFile("texts.json")).get<std::vector<std::string>>();
    golden_ = json::parse(ReadFile(family + ".golden.json"));
    ASSERT_EQ(golden_["plain"].size(), texts_.size());
    ASSERT_GT(texts_.size(), 400u);
  }
  Ids Encode(const std::string& text, bool allow_special) const {
    const base::Result<Ids> ids = tokenizer_->Encode(text, {.allow_special = allow_special});
    EXPECT_TRUE(ids.ok()) << ids.status().message();
    return ids.ok() ? *ids : Ids{};
  }

  std::optional<Tokenizer> tokenizer_;
  std::vector<std::string> texts_;
  json golden_;
};

TEST_P(Golden, IdsAreThoseOfHuggingFace) {
  for (int pass = 0; pass < 2; ++pass) {  // the second finds its words in the cache
    for (size_t i = 0; i < texts_.size(); ++i) {
      const Ids plain = golden_["plain"][i].get<Ids>();
      EXPECT_EQ(Encode(texts_[i], false), plain) << i << ": " << json(texts_[i]);
      const json& special = golden_["special"][i];
      EXPECT_EQ(Encode(texts_[i], true), special.is_null() ? plain : special.get<Ids>())
          << i << ": " << json(texts_[i]);
    }
  }
}

TEST_P(Golden, DecodedTextIsThatOfHuggingFace) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const json& special = golden_["special"][i];
    const Ids ids = (special.is_null() ? golden_["plain"][i] : special).get<Ids>();
    for (const bool skip : {true, false}) {
      const json& expected = golden_[skip ? "decoded" : "decoded_all"][i];
      const base::Result<std::string> text = tokenizer_->Decode(ids, skip);
      if (expected.is_boolean()) continue;
      ASSERT_TRUE(text.ok()) << text.status().message();
      EXPECT_EQ(*text, expected.is_null() ? texts_[i] : expected.get<std::string>())
          << i << ": " << json(texts_[i]);
      EXPECT_EQ(Streamed(*tokenizer_, ids, skip), *text) << i << ": " << json(texts_[i]);
    }
  }
}

TEST_P(Golden, RandomIdsDecodeAsInHuggingFace) {
  const bool fallback = std::string(GetParam()) == "llama2" || std::string(GetParam()) == "mistral";
  for (const json& sample : golden_["random"]) {
    const Ids ids = sample[0].get<Ids>();
    const base::Result<std::string> text = tokenizer_->Decode(ids, false);
    ASSERT_TRUE(text.ok()) << text.status().message();
    EXPECT_EQ(*text, sample[1].get<std::string>());
    // A stream keeps the good characters of a bad run of <0xHH> (decoder.h).
    if (!fallback) {
      EXPECT_EQ(Streamed(*tokenizer_, ids, false), *text);
    }
  }
}

TEST_P(Golden, WholeTextAsDataIsTextWithoutSpecialTokens) {
  for (const std::string& text : texts_) {
    const base::Result<Ids> ids = tokenizer_->EncodeSpans(text, {{0, text.size()}}, true);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, Encode(text, false));
    const base::Result<Ids> free = tokenizer_->EncodeSpans(text, {}, true);
    ASSERT_TRUE(free.ok()) << free.status().message();
    EXPECT_EQ(*free, Encode(text, true));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, testing::ValuesIn(kFamilies),
                         [](const testing::TestParamInfo<const char*>& family) {
                           return std::string(family.param);
                         });

// The same tokenizers written as GGUF metadata give the same ids.
class GgufGolden : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GgufGolden, IdsAreThoseOfTheJsonFile) {
  const auto [family, pre] = GetParam();
  const json source = json::parse(ReadFile(std::string(family) + ".json"));
  std::map<int64_t, std::string> by_id;
  for (const auto& item : source["model"]["vocab"].items()) by_id[item.value().get<int64_t>()] = item.key();
  std::map<int64_t, int64_t> types;
  for (const json& added : source["added_tokens"]) {
    by_id[added["id"].get<int64_t>()] = added["content"].get<std::string>();
    types[added["id"].get<int64_t>()] = added["special"].get<bool>() ? 3 : 4;
  }
  std::vector<std::string> tokens;
  std::vector<int64_t> token_types;
  for (const auto& [id, text] : by_id) {
    ASSERT_EQ(id, static_cast<int64_t>(tokens.size()));
    tokens.push_back(text);
    token_types.push_back(types.count(id) != 0 ? types[id] : 1);
  }
  std::vector<std::string> merges;
  for (const json& pair : source["model"]["merges"])
    merges.push_back(pair[0].get<std::string>() + " " + pair[1].get<std::string>());
  checkpoint::Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.Set("tokenizer.ggml.pre", std::string(pre));
  metadata.Set("tokenizer.ggml.tokens", tokens);
  metadata.Set("tokenizer.ggml.token_type", token_types);
  metadata.Set("tokenizer.ggml.merges", merges);
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] == "<|begin_of_text|>")
      metadata.Set("tokenizer.ggml.bos_token_id", static_cast<int64_t>(i));
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromGguf(metadata);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto texts = json::parse(ReadFile("texts.json")).get<std::vector<std::string>>();
  const json golden = json::parse(ReadFile(std::string(family) + ".golden.json"));
  for (size_t i = 0; i < texts.size(); ++i) {
    const base::Result<Ids> ids = tokenizer->Encode(texts[i], {.allow_special = true});
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    const json& special = golden["special"][i];
    EXPECT_EQ(*ids, (special.is_null() ? golden["plain"][i] : special).get<Ids>())
        << i << ": " << json(texts[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Pre, GgufGolden,
                         testing::Values(std::make_pair("gpt2", "gpt-2"),
                                         std::make_pair("llama3", "llama-bpe"),
                                         std::make_pair("smollm2", "smollm")),
                         [](const auto& param) { return std::string(param.param.first); });

TEST(GgufSentencePiece, IdsAreThoseOfSentencePiece) {
  const json source = json::parse(ReadFile("gguf_spm.json"));
  checkpoint::Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("llama"));
  metadata.Set("tokenizer.ggml.tokens", source["tokens"].get<std::vector<std::string>>());
  metadata.Set("tokenizer.ggml.scores", source["scores"].get<std::vector<double>>());
  metadata.Set("tokenizer.ggml.token_type", source["token_type"].get<std::vector<int64_t>>());
  for (const char* name : {"bos", "eos"})
    metadata.Set(std::string("tokenizer.ggml.") + name + "_token_id", source[name].get<int64_t>());
  metadata.Set("tokenizer.ggml.unknown_token_id", source["unk"].get<int64_t>());
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromGguf(metadata);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const json golden = json::parse(ReadFile("gguf_spm.golden.json"));
  ASSERT_GT(golden.size(), 400u);
  for (const json& sample : golden) {
    const std::string text = sample[0].get<std::string>();
    const base::Result<Ids> ids = tokenizer->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, sample[1].get<Ids>()) << json(text);
    const base::Result<std::string> decoded = tokenizer->Decode(*ids);
    ASSERT_TRUE(decoded.ok());
    // A space mark cannot be told from a space afterwards.
    if (text.find("\xE2\x96\x81") == std::string::npos) {
      EXPECT_EQ(*decoded, text);
    }
    EXPECT_EQ(Streamed(*tokenizer, *ids, true), *decoded);
  }
}

}  // namespace
}  // namespace fusiontree::tokenizer
