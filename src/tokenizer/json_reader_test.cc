// Bad and odd tokenizer.json files: each one error sentence that names what is wrong.
#include "tokenizer/json_reader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tokenizer/tokenizer.h"

namespace fusiontree::tokenizer {
namespace {

using nlohmann::json;

json Good() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 5, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3, "abb": 4}, "merges": [["a", "b"], ["ab", "b"]]}})");
}

std::string Error(const std::string& text, const std::string& config = "") {
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromJson(text, config);
  if (tokenizer.ok()) return "";
  EXPECT_EQ(tokenizer.status().kind(), base::ErrorKind::kBadInput);
  EXPECT_EQ(tokenizer.status().message().find('\n'), std::string::npos);
  EXPECT_LT(tokenizer.status().message().size(), 1000u);
  return tokenizer.status().message();
}

// The error of the good file with one value replaced.
std::string ErrorWith(const std::string& pointer, const json& value) {
  json file = Good();
  file[json::json_pointer(pointer)] = value;
  return Error(file.dump());
}

testing::AssertionResult Contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not contain \"" << part << "\"";
}

TEST(JsonReader, TheGoodFileLoads) {
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromJson(Good().dump(), "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = tokenizer->Encode("abbxa<s>", {.allow_special = true});
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, (std::vector<int32_t>{4, 0, 1, 5}));
  EXPECT_EQ(tokenizer->vocab_size(), 6u);
  EXPECT_EQ(tokenizer->unk_id(), 0);
}

TEST(JsonReader, WhatIsNoJsonIsAnError) {
  const std::string good = Good().dump();
  for (size_t size = 0; size < good.size(); size += 3) EXPECT_NE(Error(good.substr(0, size)), "") << size;
  EXPECT_TRUE(Contains(Error("{\"a\": \"\xC0\x80\"}"), "tokenizer.json: it is not UTF-8 at byte 7"));
  EXPECT_TRUE(Contains(Error(good + std::string("\0{", 2)), "NUL"));
  EXPECT_TRUE(Contains(Error("[]"), "expected an object"));
  EXPECT_TRUE(Contains(Error("17"), "expected an object"));
  EXPECT_TRUE(Contains(Error(std::string(100000, '[')), "nested deeper than 64 levels"));
  EXPECT_TRUE(Contains(Error(R"({"model": {}, "model": {}})"), "\"model\" is twice"));
  EXPECT_TRUE(Contains(Error(R"({"model": {"vocab": {}, "vocab": {}}})"), "\"vocab\" is twice"));
  EXPECT_TRUE(Contains(Error("{}"), "model is missing"));
}

TEST(JsonReader, BadVocabulariesAreNamed) {
  const std::string good = Good().dump();
  const auto with_vocab = [&](const std::string& vocab) {
    const size_t begin = good.find("\"vocab\":{") + 8;
    const size_t end = good.find('}', begin) + 1;
    return Error(good.substr(0, begin) + vocab + good.substr(end));
  };
  EXPECT_TRUE(Contains(with_vocab(R"({"?":0,"a":1,"b":1})"), "the same id 1"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":0,"a":1,"a":2})"), "\"a\" is twice"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":-1})"), "id -1"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":16777216})"), "16777216"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":18446744073709551615})"), "expected 0 to"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":1.5})"), "not an integer"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":"0"})"), "not an integer"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":{}})"), "not an integer"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":null})"), "not an integer"));
  EXPECT_TRUE(Contains(with_vocab("[]"), "model.vocab"));
  EXPECT_TRUE(Contains(with_vocab(R"({"?":0})"), "not in the vocabulary"));
}

TEST(JsonReader, HolesInTheVocabularyAreNoIds) {
  json file = Good();
  file["model"]["vocab"]["c"] = 9;
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromJson(file.dump(), "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer->vocab_size(), 10u);
  EXPECT_TRUE(tokenizer->Decode(std::vector<int32_t>{9}).ok());
  EXPECT_FALSE(tokenizer->Decode(std::vector<int32_t>{7}).ok());
}

TEST(JsonReader, BadMergesAreNamed) {
  const std::string at = "/model/merges";
  EXPECT_TRUE(Contains(ErrorWith(at, json::array({json::array({"a", "c"})})),
                       "\"c\", which is not in the vocabulary"));
  EXPECT_TRUE(Contains(ErrorWith(at, json::array({json::array({"c", "a"})})),
                       "\"c\", which is not in the vocabulary"));
  EXPECT_TRUE(Contains(ErrorWith(at, json::array({json::array({"b", "a"})})),
                       "\"ba\", which is not in the vocabulary"));
  EXPECT_TRUE(Contains(ErrorWith(at, {"a b", "ab"}), "merge 1 (\"ab\") does not have two parts"));
  EXPECT_TRUE(Contains(ErrorWith(at, {"a b b"}), "does not have two parts"));
  EXPECT_TRUE(Contains(ErrorWith(at, {json::array({"a"})}), "does not have two parts"));
  EXPECT_TRUE(Contains(ErrorWith(at, json::array({json::array({"a", "b", "b"})})), "more than two parts"));
  EXPECT_TRUE(Contains(ErrorWith(at, {17}), "neither a string nor a pair"));
  EXPECT_TRUE(Contains(ErrorWith(at, json::array({json::array({1, 2})})), "neither a string nor a pair"));
  EXPECT_TRUE(Contains(ErrorWith(at, json::object()), "model.merges"));
  EXPECT_TRUE(Contains(ErrorWith(at, nullptr), "model.merges"));
}

TEST(JsonReader, WhatWouldChangeIdsAndIsNotKnownIsNamed) {
  EXPECT_TRUE(Contains(ErrorWith("/model/type", "Unigram"), "\"Unigram\" is not supported"));
  EXPECT_TRUE(Contains(ErrorWith("/model/dropout", 0.1), "dropout"));
  EXPECT_EQ(ErrorWith("/model/dropout", 0.0), "");
  EXPECT_TRUE(Contains(ErrorWith("/model/continuing_subword_prefix", "##"), "continuing_subword_prefix"));
  EXPECT_TRUE(Contains(ErrorWith("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix"));
  EXPECT_TRUE(Contains(ErrorWith("/model/unk_token", "<unk>"), "\"<unk>\" is not in the vocabulary"));
  EXPECT_TRUE(Contains(ErrorWith("/model/byte_fallback", 1), "expected true or false"));
  EXPECT_TRUE(Contains(ErrorWith("/model/novelty", 1), "\"novelty\" is not known"));
  EXPECT_TRUE(Contains(ErrorWith("/novelty", 1), "\"novelty\" is not known"));
  for (const char* key : {"/normalizer", "/pre_tokenizer", "/post_processor", "/decoder"}) {
    EXPECT_TRUE(Contains(ErrorWith(key, {{"type", "Novelty"}}), "\"Novelty\" is not supported")) << key;
    EXPECT_TRUE(Contains(ErrorWith(key, 17), "expected an object")) << key;
    EXPECT_TRUE(Contains(ErrorWith(key, json::object()), "type is missing")) << key;
    EXPECT_TRUE(Contains(ErrorWith(key, {{"type", "Sequence"}}), "is missing")) << key;
  }
  EXPECT_TRUE(
      Contains(ErrorWith("/normalizer", {{"type", "NFC"}, {"more", 1}}), "normalizer: the key \"more\""));
  EXPECT_TRUE(Contains(ErrorWith("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Nmt"}}}}}),
                       "normalizer.normalizers[0]: the type \"Nmt\""));
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 12; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_TRUE(Contains(ErrorWith("/normalizer", nested), "nested more than 8 deep"));
}

TEST(JsonReader, BadStepsAreNamed) {
  const auto split = [](const json& pattern, const char* behavior) {
    return ErrorWith("/pre_tokenizer",
                     {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", false}});
  };
  EXPECT_EQ(split({{"Regex", "x+"}}, "Removed"), "");
  EXPECT_TRUE(Contains(split({{"Regex", "x("}}, "Removed"), "pre_tokenizer.pattern"));
  EXPECT_TRUE(Contains(split({{"Regex", R"(\bx)"}}, "Removed"), "which is not supported"));
  EXPECT_TRUE(Contains(split({{"Glob", "x"}}, "Removed"), "String is missing"));
  EXPECT_TRUE(Contains(split({{"String", "x"}}, "Shuffled"), "\"Shuffled\" is not known"));
  EXPECT_TRUE(Contains(split("x", "Removed"), "expected an object"));
  const auto metaspace = [](const char* replacement, const char* scheme) {
    return ErrorWith("/pre_tokenizer",
                     {{"type", "Metaspace"}, {"replacement", replacement}, {"prepend_scheme", scheme}});
  };
  EXPECT_EQ(metaspace("_", "first"), "");
  EXPECT_TRUE(Contains(metaspace("__", "first"), "expected one character"));
  EXPECT_TRUE(Contains(metaspace("", "first"), "expected one character"));
  EXPECT_TRUE(Contains(metaspace("_", "often"), "prepend_scheme"));
  EXPECT_TRUE(
      Contains(ErrorWith("/decoder", {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}}),
               "must not be negative"));
  EXPECT_TRUE(
      Contains(ErrorWith("/decoder", {{"type", "Strip"}, {"content", " "}, {"start", 1e300}, {"stop", 0}}),
               "expected an integer"));
}

TEST(JsonReader, BadAddedTokensAreNamed) {
  const auto add = [](const json& token) {
    json file = Good();
    file["added_tokens"].push_back(token);
    return Error(file.dump());
  };
  EXPECT_EQ(add({{"id", 6}, {"content", "<t>"}}), "");
  EXPECT_EQ(add({{"id", 60}, {"content", "<t>"}}), "");
  EXPECT_TRUE(Contains(add({{"id", 5}, {"content", "<t>"}}), "has the id 5"));
  EXPECT_TRUE(Contains(add({{"id", 6}, {"content", "<s>"}}), "there twice"));
  EXPECT_TRUE(Contains(add({{"id", 6}, {"content", "ab"}}), "the id 6 here and 3 in the vocabulary"));
  EXPECT_TRUE(Contains(add({{"id", 3}, {"content", "<t>"}}), "which is \"ab\" in the vocabulary"));
  EXPECT_TRUE(Contains(add({{"id", -1}, {"content", "<t>"}}), "the id -1"));
  EXPECT_TRUE(Contains(add({{"id", 1LL << 40}, {"content", "<t>"}}), "the id 1099511627776"));
  EXPECT_TRUE(Contains(add({{"id", 6}, {"content", ""}}), "is empty"));
  EXPECT_TRUE(Contains(add({{"id", 6}, {"content", std::string(5000, 'x')}}), "5000 bytes"));
  EXPECT_TRUE(Contains(add({{"id", 6}, {"content", 6}}), "expected a string"));
  EXPECT_TRUE(Contains(add({{"id", 6}, {"content", "<t>"}, {"special", "yes"}}), "expected true or false"));
  EXPECT_TRUE(Contains(add("<t>"), "expected an object"));
  EXPECT_TRUE(Contains(ErrorWith("/added_tokens", json::object()), "expected a list"));
}

TEST(JsonReader, BadPostProcessorsAreNamed) {
  const json piece = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const auto with = [&](const json& single, const json& ids) {
    const json entry = {{"id", "<s>"}, {"ids", ids}, {"tokens", {"<s>"}}};
    return ErrorWith("/post_processor", {{"type", "TemplateProcessing"},
                                         {"single", single},
                                         {"pair", json::array()},
                                         {"special_tokens", {{"<s>", entry}}}});
  };
  EXPECT_EQ(with({piece, text}, {5}), "");
  EXPECT_TRUE(Contains(with({piece, text}, {77}), "the id 77 is not in the vocabulary"));
  EXPECT_TRUE(Contains(with({piece, text}, {-1}), "the id -1 is not in the vocabulary"));
  EXPECT_TRUE(Contains(with({piece, text}, {"5"}), "is not in the vocabulary"));
  EXPECT_TRUE(Contains(with(json::array({piece}), {5}), "the text once"));
  EXPECT_TRUE(Contains(with({text, text}, {5}), "the text once"));
  EXPECT_TRUE(Contains(with({{{"SpecialToken", {{"id", "<x>"}}}}, text}, {5}), "\"<x>\" is not among"));
}

TEST(JsonReader, TheConfigNamesSpecialTokens) {
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromJson(
      Good().dump(),
      R"({"bos_token": "<s>", "eos_token": {"content": "ab", "lstrip": false}, "pad_token": null,
                         "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}],
                         "tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": true})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer->bos_id(), 5);
  EXPECT_EQ(tokenizer->eos_id(), 3);
  EXPECT_FALSE(tokenizer->pad_id().has_value());
  EXPECT_EQ(tokenizer->chat_template(), "D");
  EXPECT_EQ(*tokenizer->Encode("b"), (std::vector<int32_t>{5, 2, 3}));
  EXPECT_EQ(*tokenizer->Encode("b", {.add_special_tokens = false}), (std::vector<int32_t>{2}));

  const std::string good = Good().dump();
  EXPECT_TRUE(
      Contains(Error(good, R"({"bos_token": "<none>"})"), "bos_token \"<none>\" is not in the vocabulary"));
  EXPECT_TRUE(Contains(Error(good, R"({"eos_token": 7})"), "eos_token is neither"));
  EXPECT_TRUE(Contains(Error(good, R"({"chat_template": 7})"), "chat_template is neither"));
  EXPECT_TRUE(Contains(Error(good, R"({"added_tokens_decoder": {"x": {"content": "y"}}})"), "no id"));
  EXPECT_TRUE(Contains(Error(good, R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true})"),
                       "no bos_token"));
  EXPECT_TRUE(Contains(Error(good, "[1]"), "expected an object"));
  EXPECT_TRUE(Contains(Error(good, "{"), "tokenizer_config.json: it is not valid JSON"));
}

// The fuzzer starts from tokenizers that work, or it would only ever see errors.
TEST(JsonReader, TheFuzzersCorpusLoads) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FUSIONTREE_TESTDATA "/fuzz/tokenizer_fuzz")) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::ostringstream all;
    all << file.rdbuf();
    const std::string text = all.str();
    const std::string error = Error(text.substr(0, text.find('\0')));
    EXPECT_EQ(error, "") << entry.path();
    ++files;
  }
  EXPECT_GE(files, 11);
}

TEST(JsonReader, MergesWithUnequalRanksOfEqualPairsTakeTheLast) {
  json file = Good();
  file["model"]["merges"] =
      json::array({json::array({"a", "b"}), json::array({"ab", "b"}), json::array({"a", "b"})});
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromJson(file.dump(), "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(*tokenizer->Encode("abb"), (std::vector<int32_t>{4}));
}

}  // namespace
}  // namespace fusiontree::tokenizer
