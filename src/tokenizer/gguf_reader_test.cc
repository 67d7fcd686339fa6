// Bad and odd tokenizers in GGUF metadata.
#include "tokenizer/gguf_reader.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tokenizer/tokenizer.h"

namespace fusiontree::tokenizer {
namespace {

using checkpoint::Metadata;
using checkpoint::MetaValue;
using Strings = std::vector<std::string>;
using Ints = std::vector<int64_t>;
using Doubles = std::vector<double>;

Metadata GoodGpt2() {
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.Set("tokenizer.ggml.pre", std::string("gpt-2"));
  metadata.Set("tokenizer.ggml.tokens", Strings{"a", "b", "ab", "<|im_end|>"});
  metadata.Set("tokenizer.ggml.token_type", Ints{1, 1, 1, 3});
  metadata.Set("tokenizer.ggml.merges", Strings{"a b"});
  metadata.Set("tokenizer.ggml.eos_token_id", int64_t{3});
  metadata.Set("tokenizer.chat_template", std::string("{{ messages }}"));
  return metadata;
}

Metadata GoodLlama() {
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("llama"));
  metadata.Set("tokenizer.ggml.tokens",
               Strings{"<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", "\u2581", "a", "b", "\u2581a", "ab"});
  metadata.Set("tokenizer.ggml.token_type", Ints{2, 3, 3, 6, 6, 1, 1, 1, 1, 1});
  metadata.Set("tokenizer.ggml.scores", Doubles{0, 0, 0, 0, 0, -3, -4, -5, -2, -1});
  metadata.Set("tokenizer.ggml.bos_token_id", int64_t{1});
  metadata.Set("tokenizer.ggml.eos_token_id", int64_t{2});
  metadata.Set("tokenizer.ggml.unknown_token_id", int64_t{0});
  return metadata;
}

std::string ErrorWith(Metadata metadata, const std::string& key, MetaValue value) {
  metadata.Set("tokenizer.ggml." + key, std::move(value));
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromGguf(metadata);
  return tokenizer.ok() ? "" : tokenizer.status().message();
}

std::string ErrorWithout(const Metadata& metadata, const std::string& key) {
  Metadata rest;
  for (const auto& [name, value] : metadata.values())
    if (name != "tokenizer.ggml." + key) rest.Set(name, value);
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromGguf(rest);
  return tokenizer.ok() ? "" : tokenizer.status().message();
}

testing::AssertionResult Contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not contain \"" << part << "\"";
}

TEST(GgufReader, TheGoodOnesLoad) {
  const base::Result<Tokenizer> gpt2 = Tokenizer::FromGguf(GoodGpt2());
  ASSERT_TRUE(gpt2.ok()) << gpt2.status().message();
  EXPECT_EQ(*gpt2->Encode("aba<|im_end|>", {.allow_special = true}), (std::vector<int32_t>{2, 0, 3}));
  EXPECT_EQ(gpt2->eos_ids(), (std::vector<int32_t>{3}));
  EXPECT_EQ(gpt2->chat_template(), "{{ messages }}");
  const base::Result<Tokenizer> llama = Tokenizer::FromGguf(GoodLlama());
  ASSERT_TRUE(llama.ok()) << llama.status().message();
  EXPECT_EQ(*llama->Encode("ab\u00e9!"), (std::vector<int32_t>{1, 5, 9, 3, 4, 0}));
  EXPECT_EQ(*llama->Encode("</s><s>", {.allow_special = true}), (std::vector<int32_t>{1, 2, 1}));
  EXPECT_EQ(*llama->Decode(*llama->Encode("a ab a\u00e9")), "a ab a\u00e9");
}

TEST(GgufReader, MissingKeysAreNamed) {
  EXPECT_TRUE(Contains(ErrorWithout(GoodGpt2(), "model"), "tokenizer.ggml.model is missing"));
  EXPECT_TRUE(Contains(ErrorWithout(GoodGpt2(), "pre"), "tokenizer.ggml.pre is missing"));
  EXPECT_TRUE(Contains(ErrorWithout(GoodGpt2(), "tokens"), "tokenizer.ggml.tokens is missing"));
  EXPECT_TRUE(Contains(ErrorWithout(GoodGpt2(), "merges"), "tokenizer.ggml.merges is missing"));
  EXPECT_TRUE(Contains(ErrorWithout(GoodLlama(), "scores"), "tokenizer.ggml.scores is missing"));
  EXPECT_TRUE(Contains(ErrorWithout(GoodLlama(), "bos_token_id"), "no tokenizer.ggml.bos_token_id"));
  EXPECT_EQ(ErrorWithout(GoodGpt2(), "token_type"), "");
}

TEST(GgufReader, BadValuesAreNamed) {
  EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), "model", std::string("bert")), "\"bert\""));
  EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), "model", int64_t{1}), "tokenizer.ggml.model"));
  EXPECT_TRUE(
      Contains(ErrorWith(GoodGpt2(), "pre", std::string("novel")), "\"novel\", which is not supported"));
  EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), "tokens", Ints{1}), "no list of strings"));
  EXPECT_TRUE(
      Contains(ErrorWith(GoodGpt2(), "tokens", Strings{"a", "b", "ab", "a"}), "tokenizer.ggml.tokens"));
  EXPECT_TRUE(
      Contains(ErrorWith(GoodGpt2(), "token_type", Ints{1}), "1 entries, expected one for each of the 4"));
  EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), "token_type", Ints{1, 1, 7, 3}), "the type 7"));
  EXPECT_TRUE(
      Contains(ErrorWith(GoodGpt2(), "merges", Strings{"a c"}), "\"c\", which is not in the vocabulary"));
  for (const char* merge : {"ab", "a ", "", " "})
    EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), "merges", Strings{merge}), "does not have two parts"))
        << merge;
  for (const char* key :
       {"bos_token_id", "eos_token_id", "eot_token_id", "unknown_token_id", "padding_token_id"})
    for (const int64_t id : {int64_t{-1}, int64_t{4}, int64_t{1} << 40, INT64_MAX})
      EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), key, id), "not in the vocabulary")) << key;
  EXPECT_TRUE(Contains(ErrorWith(GoodGpt2(), "add_bos_token", true), "no tokenizer.ggml.bos_token_id"));
  EXPECT_TRUE(Contains(ErrorWith(GoodLlama(), "scores", Doubles{1, 2}), "10 tokens and 2 scores"));
  EXPECT_TRUE(Contains(ErrorWith(GoodLlama(), "scores", Doubles(10, std::nan(""))), "no number"));
}

TEST(GgufReader, ByteTokensMustSpellAByte) {
  Strings tokens = *GoodLlama().Find<Strings>("tokenizer.ggml.tokens");
  for (const char* text : {"<0x-1>", "<0x+F>", "<0xG0>", "<0x1>", "<0x100>", "0x00", "", "<0xC3", "<0xc3>"}) {
    tokens[4] = text;
    EXPECT_TRUE(Contains(ErrorWith(GoodLlama(), "tokens", tokens), "expected <0x00> to <0xFF>")) << text;
  }
  tokens[4] = "<0xC3>";
  EXPECT_TRUE(Contains(ErrorWith(GoodLlama(), "tokens", tokens), "two tokens for the byte 0xC3"));
}

// "<0xC3>" and "<s>" as text are not those tokens, whatever merges the scores would allow.
TEST(GgufReader, TextCannotSpellControlAndByteTokens) {
  Metadata metadata = GoodLlama();
  Strings tokens = *metadata.Find<Strings>("tokenizer.ggml.tokens");
  Ints types = *metadata.Find<Ints>("tokenizer.ggml.token_type");
  Doubles scores = *metadata.Find<Doubles>("tokenizer.ggml.scores");
  for (const char* text : {"<", "s", ">", "<s", "s>", "0", "x", "C", "3", "<0", "<0x", "<0xC", "<0xC3"}) {
    tokens.emplace_back(text);
    types.push_back(1);
    scores.push_back(-10);
  }
  metadata.Set("tokenizer.ggml.tokens", tokens);
  metadata.Set("tokenizer.ggml.token_type", types);
  metadata.Set("tokenizer.ggml.scores", scores);
  const base::Result<Tokenizer> tokenizer = Tokenizer::FromGguf(metadata);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  for (const char* text : {"<s>", "<0xC3>"}) {
    const base::Result<std::vector<int32_t>> ids = tokenizer->Encode(text, {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok());
    for (const int32_t id : *ids) EXPECT_GE(id, 5) << text;
    EXPECT_EQ(*tokenizer->Decode(*ids), text);
  }
}

TEST(GgufReader, EveryNamedPreTokenizerLoads) {
  for (const char* pre : {"default", "gpt-2", "phi-2", "mpt", "olmo", "qwen2", "llama3", "llama-v3",
                          "llama-bpe", "smollm", "starcoder", "refact", "command-r", "tekken"}) {
    Metadata metadata = GoodGpt2();
    metadata.Set("tokenizer.ggml.bos_token_id", int64_t{3});
    metadata.Set("tokenizer.ggml.pre", std::string(pre));
    const base::Result<Tokenizer> tokenizer = Tokenizer::FromGguf(metadata);
    ASSERT_TRUE(tokenizer.ok()) << pre << ": " << tokenizer.status().message();
    EXPECT_EQ(*tokenizer->Decode(*tokenizer->Encode("abab")), "abab") << pre;
  }
}

}  // namespace
}  // namespace fusiontree::tokenizer
