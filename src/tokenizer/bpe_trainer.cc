#include "tokenizer/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/bytes.h"
#include "base/utf8.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_merger.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/pre_tokenizer.h"

namespace fusiontree::tokenizer {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::string_view PatternText(WordPattern pattern) {
  return pattern == WordPattern::kGpt2 ? kGpt2Pattern : std::string_view(kQwen2Pattern);
}

// So that a word is looked up without a copy of it.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using WordCounts = std::unordered_map<std::string, int64_t, TextHash, std::equal_to<>>;

class CountingSink : public WordSink {
 public:
  explicit CountingSink(WordCounts* counts) : counts_(counts) {}
  void Word(std::string_view word) override {
    while (word.size() > BpeTrainer::kMaxWordBytes) {
      size_t cut = BpeTrainer::kMaxWordBytes;
      while ((static_cast<uint8_t>(word[cut]) & 0xC0) == 0x80) --cut;
      Count(word.substr(0, cut));
      word.remove_prefix(cut);
    }
    Count(word);
  }

 private:
  void Count(std::string_view word) {
    const auto found = counts_->find(word);
    if (found != counts_->end()) {
      ++found->second;
    } else {
      counts_->emplace(word, 1);
    }
  }
  WordCounts* counts_;
};

std::string Spelt(const std::string& bytes) {
  std::string text;
  AppendByteLevel(bytes, &text);
  return text;
}

// The bytes that `text` spells in the alphabet of bytes; empty when it is no such spelling.
std::string BytesOf(const std::string& text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const int byte = CharacterToByte(base::NextUtf8(text, &at));
    if (byte < 0) return "";
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

base::Status CheckSpecial(const std::vector<std::string>& special) {
  std::unordered_set<std::string> seen;
  for (const std::string& token : special) {
    if (token.empty()) return base::BadInput("a special token is empty");
    if (token.size() > AddedTokenFinder::kMaxContentBytes)
      return base::BadInput("the special token {} has {} bytes, expected at most {}", base::Quote(token),
                            token.size(), AddedTokenFinder::kMaxContentBytes);
    FT_RETURN_IF_ERROR(base::CheckUtf8(token, fmt::format("the special token {}", base::Quote(token))));
    if (BytesOf(token).size() == 1)
      return base::BadInput("the special token {} is how a vocabulary spells a byte", base::Quote(token));
    if (!seen.insert(token).second)
      return base::BadInput("the special token {} is given twice", base::Quote(token));
  }
  return base::OkStatus();
}

}  // namespace

struct BpeTrainer::State {
  BpeTrainerOptions options;
  PreTokenizer words;
  WordCounts counts;
};

BpeTrainer::BpeTrainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
BpeTrainer::BpeTrainer(BpeTrainer&&) noexcept = default;
BpeTrainer& BpeTrainer::operator=(BpeTrainer&&) noexcept = default;
BpeTrainer::~BpeTrainer() = default;

base::Result<BpeTrainer> BpeTrainer::Make(const BpeTrainerOptions& given) {
  auto state = std::make_unique<State>();
  state->options = given;
  BpeTrainerOptions& options = state->options;
  FT_RETURN_IF_ERROR(CheckSpecial(options.special_tokens));
  if (options.special_tokens.empty())
    return base::BadInput("a tokenizer needs a special token that ends a document, and none is given");
  if (options.eos_token.empty()) options.eos_token = options.special_tokens[0];
  for (const std::string* named : {&options.eos_token, &options.bos_token, &options.pad_token}) {
    if (named->empty()) continue;
    if (std::find(options.special_tokens.begin(), options.special_tokens.end(), *named) ==
        options.special_tokens.end())
      return base::BadInput("{} is none of the special tokens", base::Quote(*named));
  }
  const size_t smallest = 256 + options.special_tokens.size();
  if (options.vocab_size < static_cast<int64_t>(smallest) || options.vocab_size > 1 << 24)
    return base::BadInput("a vocabulary of {} is not from {} (the bytes and the special tokens) to {}",
                          options.vocab_size, smallest, 1 << 24);
  if (!options.chat_template.empty()) {
    FT_RETURN_IF_ERROR(base::CheckUtf8(options.chat_template, "the chat template"));
    const auto parsed = ChatTemplate::Parse(options.chat_template);
    if (!parsed.ok()) return parsed.status();
  }
  FT_ASSIGN_OR_RETURN(Pattern pattern, Pattern::Compile(PatternText(options.pattern)));
  state->words.AddSplit(std::move(pattern), SplitBehavior::kIsolated, false);
  return BpeTrainer(std::move(state));
}

base::Status BpeTrainer::Add(std::span<const std::string_view> texts, base::ThreadPool* pool) {
  std::vector<WordCounts> counts(pool->size());
  std::vector<base::Status> statuses(texts.size());
  std::atomic<size_t> next{0};  // counts are sums, so it does not matter which thread takes a text
  pool->Run([&](int thread) {
    CountingSink sink(&counts[thread]);
    for (size_t i; (i = next.fetch_add(1)) < texts.size();)
      if (!texts[i].empty()) statuses[i] = state_->words.Run(texts[i], true, &sink);
  });
  for (const base::Status& status : statuses) FT_RETURN_IF_ERROR(status);
  for (const WordCounts& part : counts)
    for (const auto& [word, count] : part) state_->counts[word] += count;
  return base::OkStatus();
}

BpeVocabulary BpeTrainer::Train(const std::function<void(double)>& progress) const {
  const BpeTrainerOptions& options = state_->options;
  BpeVocabulary vocabulary;
  vocabulary.tokens = options.special_tokens;
  std::unordered_set<std::string> forbidden;
  for (const std::string& token : options.special_tokens) forbidden.insert(BytesOf(token));
  std::array<int, 256> bytes;
  for (int i = 0; i < 256; ++i) bytes[i] = i;
  std::sort(bytes.begin(), bytes.end(), [](int a, int b) {
    return ByteToCharacter(static_cast<uint8_t>(a)) < ByteToCharacter(static_cast<uint8_t>(b));
  });
  std::array<int32_t, 256> id_of;
  for (const int byte : bytes) {
    id_of[byte] = static_cast<int32_t>(vocabulary.tokens.size());
    vocabulary.tokens.emplace_back(1, static_cast<char>(byte));
  }
  BpeMerger merger(&vocabulary.tokens, options.special_tokens.size(), std::move(forbidden));
  std::vector<int32_t> ids;
  for (const auto& [word, count] : state_->counts) {
    ids.clear();
    for (const char byte : word) ids.push_back(id_of[static_cast<uint8_t>(byte)]);
    merger.AddWord(ids, count);
    vocabulary.text_bytes += static_cast<int64_t>(word.size()) * count;
  }
  const size_t size = static_cast<size_t>(options.vocab_size);
  const double all = static_cast<double>(size - std::min(size, vocabulary.tokens.size()));
  for (std::pair<int32_t, int32_t> merge;
       vocabulary.tokens.size() < size && merger.MergeNext(options.min_count, &merge);) {
    vocabulary.merges.push_back(merge);
    if (vocabulary.merges.size() % 64 == 0)
      progress(1 - static_cast<double>(size - vocabulary.tokens.size()) / all);
  }
  vocabulary.text_tokens = merger.CountTokens();
  return vocabulary;
}

std::string BpeTrainer::TokenizerJson(const BpeVocabulary& vocabulary) const {
  const BpeTrainerOptions& options = state_->options;
  const size_t special = options.special_tokens.size();
  Json file;
  file["version"] = "1.0";
  file["truncation"] = nullptr;
  file["padding"] = nullptr;
  file["added_tokens"] = Json::array();
  for (size_t i = 0; i < special; ++i) {
    Json token;
    token["id"] = i;
    token["content"] = options.special_tokens[i];
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) token[flag] = false;
    token["special"] = true;
    file["added_tokens"].push_back(std::move(token));
  }
  file["normalizer"] = nullptr;
  const auto byte_level = [](bool use_regex) {
    Json step;
    step["type"] = "ByteLevel";
    step["add_prefix_space"] = false;
    step["trim_offsets"] = true;
    step["use_regex"] = use_regex;
    return step;
  };
  if (options.pattern == WordPattern::kGpt2) {
    file["pre_tokenizer"] = byte_level(true);
  } else {
    Json split;
    split["type"] = "Split";
    split["pattern"]["Regex"] = PatternText(options.pattern);
    split["behavior"] = "Isolated";
    split["invert"] = false;
    file["pre_tokenizer"]["type"] = "Sequence";
    file["pre_tokenizer"]["pretokenizers"] = Json::array({split, byte_level(false)});
  }
  file["post_processor"] = nullptr;
  file["decoder"] = byte_level(true);
  Json& model = file["model"];
  model["type"] = "BPE";
  for (const char* none : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"})
    model[none] = nullptr;
  for (const char* off : {"fuse_unk", "byte_fallback", "ignore_merges"}) model[off] = false;
  std::vector<std::string> spelt = options.special_tokens;
  for (size_t i = special; i < vocabulary.tokens.size(); ++i) spelt.push_back(Spelt(vocabulary.tokens[i]));
  // Not through operator[]: an ordered_json looks for a key from front to back.
  Json::object_t vocab;
  for (size_t i = 0; i < spelt.size(); ++i)
    static_cast<std::vector<std::pair<const std::string, Json>>&>(vocab).emplace_back(spelt[i], i);
  model["vocab"] = std::move(vocab);
  model["merges"] = Json::array();
  // "a b", which old and new versions of Hugging Face's library read.
  for (const auto& [left, right] : vocabulary.merges)
    model["merges"].push_back(spelt[left] + " " + spelt[right]);
  return file.dump(1, ' ') + "\n";
}

std::string BpeTrainer::ConfigJson() const {
  const BpeTrainerOptions& options = state_->options;
  Json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["clean_up_tokenization_spaces"] = false;
  const auto name = [&config](const char* key, const std::string& token) {
    config[key] = token.empty() ? Json(nullptr) : Json(token);
  };
  name("bos_token", options.bos_token);
  name("eos_token", options.eos_token);
  name("pad_token", options.pad_token);
  if (!options.chat_template.empty()) config["chat_template"] = options.chat_template;
  return config.dump(1, ' ') + "\n";
}

}  // namespace fusiontree::tokenizer
