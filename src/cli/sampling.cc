#include "cli/sampling.h"

#include <fmt/format.h>

#include <limits>

#include "base/json.h"

namespace fusiontree::cli {
namespace {

using nlohmann::json;

base::Status ReadNumber(const json& object, const char* key, std::optional<double>* out) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return base::OkStatus();
  if (!it->is_number()) return base::BadInput("generation_config.json: {} must be a number", key);
  *out = it->get<double>();
  return base::OkStatus();
}

base::Status ReadIds(const json& value, std::vector<int32_t>* out) {
  const auto one = [&](const json& id) -> base::Status {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
      return base::BadInput("generation_config.json: eos_token_id must be a token id or a list of them");
    out->push_back(id.get<int32_t>());
    return base::OkStatus();
  };
  if (!value.is_array()) return one(value);
  for (const json& id : value) FT_RETURN_IF_ERROR(one(id));
  return base::OkStatus();
}

}  // namespace

void SamplingFlags::Declare(Options& options) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  options.Integer("-n,--max-tokens", "most tokens to write (default 256)", 1, kMax, &max_tokens);
  options.Number("--temperature", "0: the most likely token; larger: more varied", 0, 100, &temperature);
  options.Integer("--top-k", "choose among the K most likely tokens (0: all)", 0, kMax, &top_k);
  options.Number("--top-p", "choose among the most likely tokens that make up this share", 0, 1, &top_p);
  options.Number("--min-p", "drop tokens less likely than this share of the most likely one", 0, 1, &min_p);
  options.Number("--repetition-penalty", "above 1: tokens already there become less likely", 0.01, 100,
                 &repetition_penalty);
  options.Integer("--seed", "of the random choices (default 0): the same seed writes the same text", 0, kMax,
                  &seed);
  options.Texts("--stop", "TEXT", "end before this text; may be given several times", &stop);
}

base::Result<GenerationDefaults> ParseGenerationConfig(const std::string& text) {
  const base::Result<json> parsed = base::ParseJson(text);
  if (!parsed.ok()) return parsed.status().WithContext("generation_config.json");
  const json& document = *parsed;
  if (!document.is_object()) return base::BadInput("generation_config.json is not a JSON object");
  GenerationDefaults defaults;
  const auto sample = document.find("do_sample");
  if (sample != document.end() && !sample->is_null()) {
    if (!sample->is_boolean())
      return base::BadInput("generation_config.json: do_sample must be true or false");
    defaults.do_sample = sample->get<bool>();
  }
  FT_RETURN_IF_ERROR(ReadNumber(document, "temperature", &defaults.temperature));
  FT_RETURN_IF_ERROR(ReadNumber(document, "top_p", &defaults.top_p));
  FT_RETURN_IF_ERROR(ReadNumber(document, "min_p", &defaults.min_p));
  FT_RETURN_IF_ERROR(ReadNumber(document, "repetition_penalty", &defaults.repetition_penalty));
  const auto top_k = document.find("top_k");
  if (top_k != document.end() && !top_k->is_null()) {
    if (!top_k->is_number_integer())
      return base::BadInput("generation_config.json: top_k must be a whole number");
    defaults.top_k = std::max<int64_t>(0, top_k->get<int64_t>());  // some files say -1 for "off"
  }
  const auto eos = document.find("eos_token_id");
  if (eos != document.end() && !eos->is_null()) FT_RETURN_IF_ERROR(ReadIds(*eos, &defaults.eos_ids));
  return defaults;
}

engine::Sampling ResolveSampling(const SamplingFlags& flags, const GenerationDefaults& defaults) {
  engine::Sampling sampling;
  const bool asked = flags.top_k || flags.top_p || flags.min_p || flags.seed;
  const bool samples = defaults.do_sample.value_or(false) || asked;
  sampling.temperature = flags.temperature.value_or(samples ? defaults.temperature.value_or(1.0) : 0.0);
  sampling.top_k = flags.top_k.value_or(defaults.top_k.value_or(0));
  sampling.top_p = flags.top_p.value_or(defaults.top_p.value_or(1.0));
  sampling.min_p = flags.min_p.value_or(defaults.min_p.value_or(0.0));
  sampling.repetition_penalty = flags.repetition_penalty.value_or(defaults.repetition_penalty.value_or(1.0));
  sampling.seed = static_cast<uint64_t>(flags.seed.value_or(0));
  return sampling;
}

std::string Describe(const engine::Sampling& sampling) {
  std::string text = "greedy";
  if (sampling.temperature > 0) {
    text = fmt::format("temperature {}", sampling.temperature);
    if (sampling.top_k > 0) text += fmt::format(", top-k {}", sampling.top_k);
    if (sampling.top_p < 1) text += fmt::format(", top-p {}", sampling.top_p);
    if (sampling.min_p > 0) text += fmt::format(", min-p {}", sampling.min_p);
    text += fmt::format(", seed {}", sampling.seed);
  }
  if (sampling.repetition_penalty != 1)
    text += fmt::format(", repetition penalty {}", sampling.repetition_penalty);
  return text;
}

}  // namespace fusiontree::cli
