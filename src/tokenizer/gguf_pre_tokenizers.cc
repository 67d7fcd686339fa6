#include "tokenizer/gguf_pre_tokenizers.h"

#include <algorithm>
#include <iterator>

#include "tokenizer/byte_level.h"

namespace fusiontree::tokenizer {

constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kQwen2Pattern = kQwen2;
const std::string_view kLlama3Pattern = kLlama3;

namespace {

constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::string_view kGpt2Patterns[] = {kGpt2Pattern};
constexpr std::string_view kQwen2Patterns[] = {kQwen2};
constexpr std::string_view kLlama3Patterns[] = {kLlama3};
constexpr std::string_view kTekkenPatterns[] = {kTekken};
// Digits one by one, then GPT-2's.
constexpr std::string_view kSmolPatterns[] = {R"(\p{N})", kGpt2Pattern};
// llama.cpp's own default, from Falcon.
constexpr std::string_view kDefaultPatterns[] = {
    R"([\p{P}\$\+<=>\^~\|]+)", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))",
    R"(\p{N}+)", R"([0-9][0-9][0-9])"};

struct Named {
  std::string_view name;
  GgufPreTokenizer pre;
};

constexpr GgufPreTokenizer kGpt2Like{kGpt2Patterns, false, false, false};
constexpr GgufPreTokenizer kQwen2Like{kQwen2Patterns, true, false, false};
constexpr GgufPreTokenizer kLlama3Like{kLlama3Patterns, false, true, true};
constexpr GgufPreTokenizer kSmolLike{kSmolPatterns, false, false, false};
constexpr GgufPreTokenizer kTekkenLike{kTekkenPatterns, false, true, true};
constexpr GgufPreTokenizer kDefault{kDefaultPatterns, false, false, false};

constexpr Named kNames[] = {
    {"default", kDefault},    {"gpt-2", kGpt2Like},      {"gpt2", kGpt2Like},
    {"phi-2", kGpt2Like},     {"mpt", kGpt2Like},        {"olmo", kGpt2Like},
    {"jais", kGpt2Like},      {"qwen2", kQwen2Like},     {"deepseek-r1-qwen", kQwen2Like},
    {"llama3", kLlama3Like},  {"llama-v3", kLlama3Like}, {"llama-bpe", kLlama3Like},
    {"smollm", kSmolLike},    {"starcoder", kSmolLike},  {"refact", kSmolLike},
    {"command-r", kSmolLike}, {"codeshell", kSmolLike},  {"tekken", kTekkenLike},
};

}  // namespace

const GgufPreTokenizer* FindGgufPreTokenizer(std::string_view name) {
  const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                  [name](const Named& named) { return named.name == name; });
  return found == std::end(kNames) ? nullptr : &found->pre;
}

}  // namespace fusiontree::tokenizer
