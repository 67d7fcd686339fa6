#include "tokenizer/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::tokenizer {
namespace {

using Texts = std::vector<std::string>;

std::string ReadFile(const std::string& name) {
  std::ifstream file(std::string(FUSIONTREE_TESTDATA) + "/tokenizer/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

BpeTrainer Counted(const BpeTrainerOptions& options, const Texts& texts, int threads) {
  auto trainer = BpeTrainer::Make(options);
  EXPECT_TRUE(trainer.ok()) << trainer.status().message();
  base::ThreadPool pool(threads);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  EXPECT_TRUE(trainer->Add(views, &pool).ok());
  return std::move(trainer).value();
}

std::string Trained(const BpeTrainerOptions& options, const Texts& texts, int threads = 1) {
  const BpeTrainer trainer = Counted(options, texts, threads);
  return trainer.TokenizerJson(trainer.Train([](double) {}));
}

// Texts of few letters, so that pairs overlap and counts are equal often.
Texts RandomTexts(uint64_t seed, int texts, int letters) {
  Texts result(texts);
  for (int i = 0; i < texts; ++i)
    for (int j = 0; j < 60; ++j) {
      const uint32_t draw = base::Philox(seed, j, i)[0] % (letters + 2);
      result[i] += draw < 2 ? " " : std::string(1, static_cast<char>('a' + draw - 2));
    }
  return result;
}

// The slow twin: counts every pair anew for each merge.
std::vector<std::pair<std::string, std::string>> PlainMerges(const Texts& texts, size_t tokens) {
  std::map<std::vector<std::string>, int64_t> words;
  class Sink : public WordSink {
   public:
    explicit Sink(std::map<std::vector<std::string>, int64_t>* all) : all_(all) {}
    void Word(std::string_view word) override {
      std::vector<std::string> letters;
      for (const char c : word) letters.emplace_back(1, c);
      ++(*all_)[letters];
    }
    std::map<std::vector<std::string>, int64_t>* all_;
  } sink(&words);
  PreTokenizer cut;
  cut.AddSplit(*Pattern::Compile(R"( ?[a-z]+|\s+(?!\S)|\s+)"), SplitBehavior::kIsolated, false);
  for (const std::string& text : texts) EXPECT_TRUE(cut.Run(text, true, &sink).ok());
  std::map<std::string, int> ids;  // letters by their character: the space is U+0120, behind all others
  for (char c = 'a'; c <= 'z'; ++c) ids[std::string(1, c)] = c;
  ids[" "] = 0x120;
  std::vector<std::pair<std::string, std::string>> merges;
  for (int next = 1000; ids.size() < 27 + tokens;) {
    std::map<std::pair<int, int>, std::pair<int64_t, std::pair<std::string, std::string>>> pairs;
    for (const auto& [word, count] : words)
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        auto& entry = pairs[{ids[word[i]], ids[word[i + 1]]}];
        entry.first += count;
        entry.second = {word[i], word[i + 1]};
      }
    std::pair<int64_t, std::pair<std::string, std::string>> best{1, {}};
    for (const auto& [pair, entry] : pairs)
      if (entry.first > best.first) best = entry;
    if (best.first < 2) break;
    merges.push_back(best.second);
    const std::string made = best.second.first + best.second.second;
    if (ids.emplace(made, next).second) ++next;
    std::map<std::vector<std::string>, int64_t> merged;
    for (const auto& [word, count] : words) {
      std::vector<std::string> out;
      for (size_t i = 0; i < word.size(); ++i) {
        const bool here =
            i + 1 < word.size() && word[i] == best.second.first && word[i + 1] == best.second.second;
        out.push_back(here ? made : word[i]);
        i += here;
      }
      merged[out] += count;
    }
    words = std::move(merged);
  }
  return merges;
}

TEST(BpeTrainer, MergesAreThoseOfThePlainAlgorithm) {
  int compared = 0;
  for (int letters = 2; letters <= 5; ++letters) {
    const Texts texts = RandomTexts(letters, 12, letters);
    const auto expected = PlainMerges(texts, 120);
    const BpeTrainer trainer = Counted({.vocab_size = 257 + 120}, texts, 2);
    const BpeVocabulary vocabulary = trainer.Train([](double) {});
    ASSERT_EQ(vocabulary.merges.size(), expected.size()) << letters;
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(vocabulary.tokens[vocabulary.merges[i].first], expected[i].first) << letters << " " << i;
      EXPECT_EQ(vocabulary.tokens[vocabulary.merges[i].second], expected[i].second) << letters << " " << i;
    }
    compared += static_cast<int>(expected.size());
  }
  EXPECT_GT(compared, 150);
}

TEST(BpeTrainer, FilesDoNotDependOnThreadsOrOrder) {
  Texts texts = RandomTexts(7, 60, 6);
  const std::string one = Trained({.vocab_size = 400}, texts, 1);
  EXPECT_EQ(Trained({.vocab_size = 400}, texts, 3), one);
  std::reverse(texts.begin(), texts.end());
  EXPECT_EQ(Trained({.vocab_size = 400}, texts, 2), one);
}

// tools/make_trainer_golden.py trained the same with Hugging Face `tokenizers`, and encoded with our file.
TEST(BpeTrainer, FilesAreThoseThatHuggingFaceTrains) {
  const nlohmann::json golden = nlohmann::json::parse(ReadFile("trainer.golden.json"));
  const Texts texts = golden["texts"].get<Texts>();
  for (const auto& [name, pattern] :
       {std::pair{"gpt2", WordPattern::kGpt2}, {"qwen2", WordPattern::kQwen2}}) {
    const nlohmann::json& expected = golden[name];
    BpeTrainerOptions options{.vocab_size = 600, .pattern = pattern};
    options.special_tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    const std::string text = Trained(options, texts, 2);
    const nlohmann::json file = nlohmann::json::parse(text);
    EXPECT_EQ(file["model"]["vocab"], expected["vocab"]) << name;
    EXPECT_EQ(file["model"]["merges"], expected["merges"]) << name;
    auto tokenizer = Tokenizer::FromJson(text, "");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    const BpeVocabulary vocabulary = Counted(options, texts, 1).Train([](double) {});
    int64_t tokens = 0, bytes = 0;
    for (const std::string& plain : texts) {
      tokens += static_cast<int64_t>(tokenizer->Encode(plain)->size());
      bytes += static_cast<int64_t>(plain.size());
    }
    EXPECT_EQ(vocabulary.text_tokens, tokens);
    EXPECT_EQ(vocabulary.text_bytes, bytes);
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto ids = tokenizer->Encode(texts[i], {.allow_special = true});
      ASSERT_TRUE(ids.ok());
      EXPECT_EQ(*ids, expected["ids"][i].get<std::vector<int32_t>>()) << name << " " << i;
      const auto back = tokenizer->Decode(*ids, false);
      ASSERT_TRUE(back.ok());
      EXPECT_EQ(*back, texts[i]);
    }
  }
}

TEST(BpeTrainer, TheConfigNamesTheTokens) {
  BpeTrainerOptions options{.vocab_size = 300};
  options.special_tokens = {"<|endoftext|>", "<s>"};
  options.bos_token = "<s>";
  options.chat_template = "{{ messages[0]['content'] }}";
  const BpeTrainer trainer = Counted(options, {"a text"}, 1);
  auto tokenizer =
      Tokenizer::FromJson(trainer.TokenizerJson(trainer.Train([](double) {})), trainer.ConfigJson());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer->eos_id(), 0);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->pad_id(), std::nullopt);
  EXPECT_EQ(tokenizer->chat_template(), options.chat_template);
  EXPECT_EQ(tokenizer->vocab_size(), 2u + 256u);  // no pair occurs twice
}

// A text that spells a special token is text: no merge makes a token of that spelling.
TEST(BpeTrainer, NoMergeSpellsASpecialToken) {
  BpeTrainerOptions options{.vocab_size = 300};
  options.special_tokens = {"<|end|>", "tool", "Ġcall"};
  const BpeTrainer trainer = Counted(options, Texts(9, "tool call tool call tools calls"), 1);
  const BpeVocabulary vocabulary = trainer.Train([](double) {});
  for (size_t i = 3; i < vocabulary.tokens.size(); ++i) {
    EXPECT_NE(vocabulary.tokens[i], "tool");
    EXPECT_NE(vocabulary.tokens[i], " call");
  }
  EXPECT_GT(vocabulary.merges.size(), 4u);
  auto tokenizer = Tokenizer::FromJson(trainer.TokenizerJson(vocabulary), trainer.ConfigJson());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = tokenizer->Encode("tool call tools");
  ASSERT_TRUE(ids.ok());
  for (const int32_t id : *ids) EXPECT_GE(id, 3);
}

TEST(BpeTrainer, LongWordsAreCountedInPieces) {
  // A character of three bytes lies across the border of 256.
  std::string word;
  for (int i = 0; i < 40000; ++i) word += "\xE4\xB8\xAD";
  const BpeTrainer trainer = Counted({.vocab_size = 400}, {word}, 1);
  const BpeVocabulary vocabulary = trainer.Train([](double) {});
  for (const std::string& token : vocabulary.tokens) EXPECT_LE(token.size(), BpeTrainer::kMaxWordBytes);
  EXPECT_NE(std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), word.substr(0, 255)),
            vocabulary.tokens.end());
}

TEST(BpeTrainer, BadOptionsAreNamed) {
  const auto message = [](const BpeTrainerOptions& options) {
    const auto trainer = BpeTrainer::Make(options);
    return trainer.ok() ? "" : trainer.status().message();
  };
  const auto with = [](std::vector<std::string> special) {
    BpeTrainerOptions options;
    options.special_tokens = std::move(special);
    return options;
  };
  EXPECT_EQ(message({.vocab_size = 256}),
            "a vocabulary of 256 is not from 257 (the bytes and the special tokens) to 16777216");
  EXPECT_NE(message(with({})).find("none is given"), std::string::npos);
  EXPECT_NE(message(with({"a", "bc"})).find("spells a byte"), std::string::npos);
  EXPECT_NE(message(with({"<s>", "<s>"})).find("twice"), std::string::npos);
  EXPECT_NE(message(with({"\xff"})).find("UTF-8"), std::string::npos);
  EXPECT_NE(message(with({std::string(2000, 'x')})).find("2000 bytes"), std::string::npos);
  BpeTrainerOptions options = with({"<s>"});
  options.eos_token = "<e>";
  EXPECT_EQ(message(options), "\"<e>\" is none of the special tokens");
  options = with({"<s>"});
  options.chat_template = "{% for %}";
  EXPECT_NE(message(options).find("line 1"), std::string::npos);
}

}  // namespace
}  // namespace fusiontree::tokenizer
