#include "tokenizer/gguf_reader.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_set>

#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/gguf_pre_tokenizers.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/space_mark.h"

namespace fusiontree::tokenizer {
namespace {

using checkpoint::Metadata;

// tokenizer.ggml.token_type.
enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct TokenList {
  const std::vector<std::string>* texts;
  std::vector<int64_t> types;
};

base::Result<TokenList> ReadTokens(const Metadata& metadata) {
  TokenList tokens;
  tokens.texts = metadata.Find<std::vector<std::string>>("tokenizer.ggml.tokens");
  if (tokens.texts == nullptr)
    return base::BadInput("tokenizer.ggml.tokens is missing or no list of strings");
  tokens.types.assign(tokens.texts->size(), kNormal);
  if (metadata.Has("tokenizer.ggml.token_type")) {
    const auto* types = metadata.Find<std::vector<int64_t>>("tokenizer.ggml.token_type");
    if (types == nullptr) return base::BadInput("tokenizer.ggml.token_type is no list of integers");
    if (types->size() != tokens.texts->size())
      return base::BadInput(
          "tokenizer.ggml.token_type has {} entries, expected one for each of the {} tokens", types->size(),
          tokens.texts->size());
    tokens.types = *types;
  }
  return tokens;
}

bool IsAdded(int64_t type) { return type == kControl || type == kUnknown || type == kUserDefined; }

// Fills vocabulary and added tokens. Control, unknown and byte tokens cannot come of text by merging.
base::Status AddTokens(const TokenList& tokens, Parts* parts) {
  parts->vocabulary->Reserve(tokens.texts->size());
  for (size_t i = 0; i < tokens.texts->size(); ++i) {
    const std::string& text = (*tokens.texts)[i];
    const int64_t type = tokens.types[i];
    if (type < kNormal || type > kByte)
      return base::BadInput("tokenizer.ggml.token_type: token {} has the type {}, expected 1 to 6", i, type);
    const bool findable = !text.empty() && (type == kNormal || type == kUserDefined || type == kUnused);
    const base::Status status = parts->vocabulary->Add(text, static_cast<int64_t>(i), findable);
    if (!status.ok()) return status.WithContext("tokenizer.ggml.tokens");
    if (!IsAdded(type) || text.empty()) continue;
    if (text.size() > AddedTokenFinder::kMaxContentBytes)
      return base::BadInput("tokenizer.ggml.tokens: token {} has {} bytes, expected at most {}", i,
                            text.size(), AddedTokenFinder::kMaxContentBytes);
    parts->added.push_back({.content = text, .id = static_cast<int32_t>(i), .special = type != kUserDefined});
  }
  std::unordered_set<std::string_view> contents;
  for (const AddedToken& token : parts->added) {
    const int32_t same = parts->vocabulary->Find(token.content);
    if ((same >= 0 && same != token.id) || !contents.insert(token.content).second)
      return base::BadInput("tokenizer.ggml.tokens: token {} (\"{}\") is twice in the vocabulary", token.id,
                            token.content);
  }
  return base::OkStatus();
}

base::Result<std::optional<int32_t>> ReadId(const Metadata& metadata, const char* name, const Parts& parts) {
  const std::string key = std::string("tokenizer.ggml.") + name;
  if (!metadata.Has(key)) return std::optional<int32_t>();
  FT_ASSIGN_OR_RETURN(const int64_t id, metadata.Get<int64_t>(key));
  if (!parts.vocabulary->Has(id))
    return base::BadInput("{} is {}, which is not in the vocabulary of {} tokens", key, id,
                          parts.vocabulary->size());
  return std::optional<int32_t>(static_cast<int32_t>(id));
}

// A GGUF file has no generation_config.json; besides its end-of-text keys, control tokens with these
// spellings end a turn (llama.cpp's list for the families read here).
constexpr std::string_view kTurnEnds[] = {"<|eot_id|>",    "<|im_end|>", "<|end|>",        "<end_of_turn>",
                                          "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>"};

base::Status ReadSpecialIds(const Metadata& metadata, Parts* parts) {
  FT_ASSIGN_OR_RETURN(parts->bos_id, ReadId(metadata, "bos_token_id", *parts));
  FT_ASSIGN_OR_RETURN(parts->unk_id, ReadId(metadata, "unknown_token_id", *parts));
  FT_ASSIGN_OR_RETURN(parts->pad_id, ReadId(metadata, "padding_token_id", *parts));
  const auto add_eos = [parts](int32_t id) {
    if (std::find(parts->eos_ids.begin(), parts->eos_ids.end(), id) == parts->eos_ids.end())
      parts->eos_ids.push_back(id);
  };
  for (const char* name : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    FT_ASSIGN_OR_RETURN(const std::optional<int32_t> id, ReadId(metadata, name, *parts));
    if (id.has_value()) add_eos(*id);
  }
  for (const AddedToken& token : parts->added)
    if (token.special &&
        std::find(std::begin(kTurnEnds), std::end(kTurnEnds), token.content) != std::end(kTurnEnds))
      add_eos(token.id);
  return base::OkStatus();
}

base::Status ReadBosAndEos(const Metadata& metadata, bool add_bos_default, Parts* parts) {
  FT_ASSIGN_OR_RETURN(const bool add_bos,
                      metadata.GetOr<bool>("tokenizer.ggml.add_bos_token", add_bos_default));
  FT_ASSIGN_OR_RETURN(const bool add_eos, metadata.GetOr<bool>("tokenizer.ggml.add_eos_token", false));
  if (add_bos && !parts->bos_id.has_value())
    return base::BadInput("a text shall begin with bos, but there is no tokenizer.ggml.bos_token_id");
  if (add_eos && parts->eos_ids.empty())
    return base::BadInput("a text shall end with eos, but there is no tokenizer.ggml.eos_token_id");
  if (add_bos) parts->prefix = {*parts->bos_id};
  if (add_eos) parts->suffix = {parts->eos_ids[0]};
  return base::OkStatus();
}

base::Status ReadGpt2(const Metadata& metadata, const TokenList& tokens, Parts* parts) {
  if (!metadata.Has("tokenizer.ggml.pre"))
    return base::BadInput(
        "tokenizer.ggml.pre is missing, so the way this tokenizer splits text is unknown; convert the model "
        "again with "
        "a converter that writes it");
  FT_ASSIGN_OR_RETURN(const std::string name, metadata.Get<std::string>("tokenizer.ggml.pre"));
  const GgufPreTokenizer* pre = FindGgufPreTokenizer(name);
  if (pre == nullptr) return base::BadInput("tokenizer.ggml.pre is \"{}\", which is not supported", name);
  if (pre->nfc) parts->normalizer.AddForm(UnicodeForm::kNfc);
  if (pre->digits) parts->pre_tokenizer.AddDigits(/*individual=*/true);
  for (const std::string_view source : pre->patterns) {
    FT_ASSIGN_OR_RETURN(Pattern pattern, Pattern::Compile(source));
    parts->pre_tokenizer.AddSplit(std::move(pattern), SplitBehavior::kIsolated, false);
  }
  parts->decoder.AddByteLevel();

  const auto* lines = metadata.Find<std::vector<std::string>>("tokenizer.ggml.merges");
  if (lines == nullptr) return base::BadInput("tokenizer.ggml.merges is missing or no list of strings");
  MergeList merges;
  for (size_t i = 0; i < lines->size(); ++i) {
    const std::string_view line = (*lines)[i];
    // A token of a byte-level vocabulary holds no space, but may be one in others: look behind the first
    // character.
    const size_t space = line.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == line.size())
      return base::BadInput("tokenizer.ggml.merges: merge {} (\"{}\") does not have two parts", i, line);
    merges.Add(line.substr(0, space), line.substr(space + 1));
  }
  BpeOptions options;
  options.byte_level = true;
  options.ignore_merges = pre->ignore_merges;
  FT_ASSIGN_OR_RETURN(parts->model, Bpe::Make(parts->vocabulary.get(), merges, options,
                                              std::vector<bool>(tokens.texts->size(), false)));
  FT_RETURN_IF_ERROR(ReadBosAndEos(metadata, pre->add_bos, parts));
  parts->description = fmt::format("byte-level BPE, pre-tokeniser {}", name);
  return base::OkStatus();
}

// The byte of "<0xHH>", -1 for any other text.
int ByteOf(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const int high = digit(text[3]);
  const int low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

base::Status ReadLlama(const Metadata& metadata, const TokenList& tokens, Parts* parts) {
  const auto* scores = metadata.Find<std::vector<double>>("tokenizer.ggml.scores");
  if (scores == nullptr) return base::BadInput("tokenizer.ggml.scores is missing or no list of numbers");
  std::array<int32_t, 256> byte_ids;
  byte_ids.fill(-1);
  for (size_t i = 0; i < tokens.texts->size(); ++i) {
    if (tokens.types[i] != kByte) continue;
    const int byte = ByteOf((*tokens.texts)[i]);
    if (byte < 0)
      return base::BadInput("tokenizer.ggml.tokens: byte token {} is \"{}\", expected <0x00> to <0xFF>", i,
                            (*tokens.texts)[i]);
    if (byte_ids[byte] >= 0)
      return base::BadInput("tokenizer.ggml.tokens: two tokens for the byte 0x{:02X}", byte);
    byte_ids[byte] = static_cast<int32_t>(i);
  }
  FT_ASSIGN_OR_RETURN(parts->model, SentencePiece::Make(parts->vocabulary.get(), *scores, byte_ids,
                                                        parts->unk_id.value_or(-1)));
  FT_ASSIGN_OR_RETURN(const bool prefix, metadata.GetOr<bool>("tokenizer.ggml.add_space_prefix", true));
  if (prefix) parts->normalizer.AddPrepend(std::string(kSpaceMark));
  FT_ASSIGN_OR_RETURN(Pattern space, Pattern::Literal(" "));
  parts->normalizer.AddReplace(std::move(space), std::string(kSpaceMark));
  FT_ASSIGN_OR_RETURN(Pattern mark, Pattern::Literal(kSpaceMark));
  parts->decoder.AddReplace(std::move(mark), " ");
  parts->decoder.AddByteFallback();
  parts->decoder.AddFuse();
  if (prefix) parts->decoder.AddStrip(" ", 1, 0);
  FT_RETURN_IF_ERROR(ReadBosAndEos(metadata, true, parts));
  parts->description = "SentencePiece BPE";
  return base::OkStatus();
}

}  // namespace

base::Result<Parts> ReadTokenizerGguf(const Metadata& metadata) {
  if (!metadata.Has("tokenizer.ggml.model"))
    return base::BadInput(
        "the file holds no tokenizer (tokenizer.ggml.model is missing); give token ids instead of text");
  FT_ASSIGN_OR_RETURN(const std::string model, metadata.Get<std::string>("tokenizer.ggml.model"));
  if (model != "gpt2" && model != "llama")
    return base::BadInput("tokenizer.ggml.model is \"{}\", expected gpt2 or llama", model);
  Parts parts;
  FT_ASSIGN_OR_RETURN(const TokenList tokens, ReadTokens(metadata));
  FT_RETURN_IF_ERROR(AddTokens(tokens, &parts));
  FT_RETURN_IF_ERROR(ReadSpecialIds(metadata, &parts));
  FT_RETURN_IF_ERROR(model == "gpt2" ? ReadGpt2(metadata, tokens, &parts)
                                     : ReadLlama(metadata, tokens, &parts));
  FT_ASSIGN_OR_RETURN(parts.chat_template, metadata.GetOr<std::string>("tokenizer.chat_template", ""));
  return parts;
}

}  // namespace fusiontree::tokenizer
