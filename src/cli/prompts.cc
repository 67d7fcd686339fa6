#include "cli/prompts.h"

#include <limits>

#include "base/json.h"

namespace fusiontree::cli {
namespace {

using nlohmann::json;

base::Status SetNumber(const std::string& key, const json& value, double low, double high,
                       std::optional<double>* out) {
  if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high))
    return base::BadInput("{} must be a number from {} to {}", key, low, high);
  *out = value.get<double>();
  return base::OkStatus();
}

base::Status SetInteger(const std::string& key, const json& value, int64_t low, std::optional<int64_t>* out) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  if (!fits || value.get<int64_t>() < low)
    return base::BadInput("{} must be a whole number of at least {}", key, low);
  *out = value.get<int64_t>();
  return base::OkStatus();
}

base::Status SetStop(const json& value, std::vector<std::string>* out) {
  out->clear();
  if (value.is_string()) {
    out->push_back(value.get<std::string>());
    return base::OkStatus();
  }
  if (!value.is_array()) return base::BadInput("stop must be a text or a list of texts");
  for (const json& stop : value) {
    if (!stop.is_string()) return base::BadInput("stop must be a text or a list of texts");
    out->push_back(stop.get<std::string>());
  }
  return base::OkStatus();
}

base::Status SetKey(const std::string& key, const json& value, PromptLine* line) {
  SamplingFlags& flags = line->flags;
  if (key == "prompt") {
    if (!value.is_string()) return base::BadInput("prompt must be a text");
    line->text = value.get<std::string>();
    return base::OkStatus();
  }
  if (key == "id") {
    line->id_json = value.dump();
    return base::OkStatus();
  }
  if (key == "stop") return SetStop(value, &flags.stop);
  if (key == "temperature") return SetNumber(key, value, 0, 100, &flags.temperature);
  if (key == "top_p") return SetNumber(key, value, 0, 1, &flags.top_p);
  if (key == "min_p") return SetNumber(key, value, 0, 1, &flags.min_p);
  if (key == "repetition_penalty") return SetNumber(key, value, 0.01, 100, &flags.repetition_penalty);
  if (key == "top_k") return SetInteger(key, value, 0, &flags.top_k);
  if (key == "seed") return SetInteger(key, value, 0, &flags.seed);
  if (key == "max_tokens") return SetInteger(key, value, 1, &flags.max_tokens);
  return base::BadInput("the key \"{}\" is not known", key);
}

base::Result<PromptLine> ParseLine(std::string_view text, const SamplingFlags& flags) {
  FT_ASSIGN_OR_RETURN(const json object, base::ParseJson(text));
  if (!object.is_object()) return base::BadInput("a JSON object like {{\"prompt\": \"...\"}} is expected");
  if (!object.contains("prompt")) return base::BadInput("the key \"prompt\" is missing");
  PromptLine line{.text = "", .id_json = "", .flags = flags};
  for (const auto& [key, value] : object.items()) FT_RETURN_IF_ERROR(SetKey(key, value, &line));
  return line;
}

}  // namespace

base::Result<std::vector<PromptLine>> ParsePrompts(std::string_view jsonl, const SamplingFlags& flags) {
  std::vector<PromptLine> lines;
  size_t number = 0;
  for (size_t at = 0; at < jsonl.size();) {
    const size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    const std::string_view text = jsonl.substr(at, end - at);
    at = end + 1;
    ++number;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto line = ParseLine(text, flags);
    if (!line.ok()) return line.status().WithContext("line " + std::to_string(number));
    lines.push_back(std::move(line).value());
  }
  if (lines.empty()) return base::BadInput("no line holds a prompt");
  return lines;
}

}  // namespace fusiontree::cli
