#include "tokenizer/json_steps.h"

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_document.h"

namespace fusiontree::tokenizer {
namespace {

using nlohmann::json;

using StepReader = base::Status (*)(const json& value, const std::string& path, int depth, Parts* parts);

// Sequences in sequences are legal but never this deep.
constexpr int kMaxDepth = 8;

base::Status ReadSequence(JsonObject object, const char* key, int depth, Parts* parts, StepReader read) {
  FT_ASSIGN_OR_RETURN(const json* steps, object.Array(key));
  FT_RETURN_IF_ERROR(object.CheckAllKnown());
  if (depth >= kMaxDepth)
    return base::BadInput("{}: sequences nested more than {} deep", object.path(), kMaxDepth);
  if (steps->size() > 64)
    return base::BadInput("{}: {} steps, expected at most 64", object.path(), steps->size());
  for (size_t i = 0; i < steps->size(); ++i)
    FT_RETURN_IF_ERROR(read((*steps)[i], fmt::format("{}.{}[{}]", object.path(), key, i), depth + 1, parts));
  return base::OkStatus();
}

base::Status Unsupported(const JsonObject& object, const std::string& type) {
  return base::BadInput("{}: the type \"{}\" is not supported", object.path(), type);
}

// {"String": "…"} or {"Regex": "…"}.
base::Result<Pattern> ReadPattern(JsonObject* object) {
  const json* value = object->Find("pattern");
  const std::string path = object->path() + ".pattern";
  if (value == nullptr) return base::BadInput("{} is missing", path);
  FT_ASSIGN_OR_RETURN(JsonObject pattern, JsonObject::Of(*value, path));
  const bool regex = pattern.Find("Regex") != nullptr;
  FT_ASSIGN_OR_RETURN(const std::string text, pattern.String(regex ? "Regex" : "String"));
  FT_RETURN_IF_ERROR(pattern.CheckAllKnown());
  base::Result<Pattern> compiled = regex ? Pattern::Compile(text) : Pattern::Literal(text);
  if (!compiled.ok()) return compiled.status().WithContext(path);
  return compiled;
}

// A string that must be one character.
base::Result<std::string> ReadCharacter(JsonObject* object, const char* key) {
  FT_ASSIGN_OR_RETURN(std::string text, object->String(key));
  if (text.empty() || static_cast<size_t>(base::Utf8Length(text[0])) != text.size())
    return base::BadInput("{}.{}: expected one character, got \"{}\"", object->path(), key, text);
  return text;
}

struct MetaspaceFields {
  std::string replacement;
  PrependScheme scheme;
  bool split;
};

base::Result<MetaspaceFields> ReadMetaspace(JsonObject* object) {
  MetaspaceFields fields{};
  FT_ASSIGN_OR_RETURN(fields.replacement, ReadCharacter(object, "replacement"));
  // Before prepend_scheme there was add_prefix_space; where both stand they agree.
  FT_ASSIGN_OR_RETURN(const bool prefix, object->Bool("add_prefix_space", true));
  FT_ASSIGN_OR_RETURN(const std::string scheme,
                      object->StringOr("prepend_scheme", prefix ? "always" : "never"));
  FT_ASSIGN_OR_RETURN(fields.split, object->Bool("split", true));
  object->Ignore("str_rep");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    return base::BadInput("{}.prepend_scheme: expected always, first or never, got \"{}\"", object->path(),
                          scheme);
  if (!prefix && scheme != "never")
    return base::BadInput("{}: add_prefix_space is false, but prepend_scheme is \"{}\"", object->path(),
                          scheme);
  fields.scheme = scheme == "always"  ? PrependScheme::kAlways
                  : scheme == "first" ? PrependScheme::kFirst
                                      : PrependScheme::kNever;
  return fields;
}

base::Status ReadNormalizerStep(const json& value, const std::string& path, int depth, Parts* parts) {
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(value, path));
  FT_ASSIGN_OR_RETURN(const std::string type, object.String("type"));
  static const std::unordered_map<std::string, UnicodeForm> kForms = {{"NFC", UnicodeForm::kNfc},
                                                                      {"NFD", UnicodeForm::kNfd},
                                                                      {"NFKC", UnicodeForm::kNfkc},
                                                                      {"NFKD", UnicodeForm::kNfkd}};
  if (type == "Sequence")
    return ReadSequence(std::move(object), "normalizers", depth, parts, ReadNormalizerStep);
  const auto form = kForms.find(type);
  if (form != kForms.end()) {
    parts->normalizer.AddForm(form->second);
  } else if (type == "Lowercase") {
    parts->normalizer.AddLowercase();
  } else if (type == "Prepend") {
    FT_ASSIGN_OR_RETURN(std::string prefix, object.String("prepend"));
    parts->normalizer.AddPrepend(std::move(prefix));
  } else if (type == "Replace") {
    FT_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(&object));
    FT_ASSIGN_OR_RETURN(std::string content, object.String("content"));
    parts->normalizer.AddReplace(std::move(pattern), std::move(content));
  } else {
    return Unsupported(object, type);
  }
  return object.CheckAllKnown();
}

base::Status ReadSplit(JsonObject* object, Parts* parts) {
  static const std::unordered_map<std::string, SplitBehavior> kBehaviors = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"Contiguous", SplitBehavior::kContiguous},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext}};
  FT_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(object));
  FT_ASSIGN_OR_RETURN(const std::string name, object->String("behavior"));
  FT_ASSIGN_OR_RETURN(const bool invert, object->Bool("invert", false));
  const auto behavior = kBehaviors.find(name);
  if (behavior == kBehaviors.end())
    return base::BadInput("{}.behavior: \"{}\" is not known", object->path(), name);
  parts->pre_tokenizer.AddSplit(std::move(pattern), behavior->second, invert);
  return base::OkStatus();
}

base::Status ReadPreTokenizerStep(const json& value, const std::string& path, int depth, Parts* parts) {
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(value, path));
  FT_ASSIGN_OR_RETURN(const std::string type, object.String("type"));
  if (type == "Sequence")
    return ReadSequence(std::move(object), "pretokenizers", depth, parts, ReadPreTokenizerStep);
  if (type == "ByteLevel") {
    FT_ASSIGN_OR_RETURN(const bool prefix, object.Bool("add_prefix_space", true));
    FT_ASSIGN_OR_RETURN(const bool regex, object.Bool("use_regex", true));
    object.Ignore("trim_offsets");  // changes offsets, never ids
    std::optional<Pattern> pattern;
    if (regex) {
      FT_ASSIGN_OR_RETURN(pattern, Pattern::Compile(kGpt2Pattern));
    }
    parts->pre_tokenizer.AddByteLevel(prefix, std::move(pattern));
  } else if (type == "Split") {
    FT_RETURN_IF_ERROR(ReadSplit(&object, parts));
  } else if (type == "Digits") {
    FT_ASSIGN_OR_RETURN(const bool individual, object.Bool("individual_digits", false));
    parts->pre_tokenizer.AddDigits(individual);
  } else if (type == "WhitespaceSplit") {
    parts->pre_tokenizer.AddWhitespaceSplit();
  } else if (type == "Metaspace") {
    FT_ASSIGN_OR_RETURN(MetaspaceFields fields, ReadMetaspace(&object));
    std::optional<Pattern> split;
    if (fields.split) {
      FT_ASSIGN_OR_RETURN(split, Pattern::Literal(fields.replacement));
    }
    parts->pre_tokenizer.AddMetaspace(std::move(fields.replacement), fields.scheme, std::move(split));
  } else {
    return Unsupported(object, type);
  }
  return object.CheckAllKnown();
}

base::Status ReadDecoderStep(const json& value, const std::string& path, int depth, Parts* parts) {
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(value, path));
  FT_ASSIGN_OR_RETURN(const std::string type, object.String("type"));
  Decoder& decoder = parts->decoder;
  if (type == "Sequence") return ReadSequence(std::move(object), "decoders", depth, parts, ReadDecoderStep);
  if (type == "ByteLevel") {
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) object.Ignore(key);
    decoder.AddByteLevel();
  } else if (type == "ByteFallback") {
    decoder.AddByteFallback();
  } else if (type == "Fuse") {
    decoder.AddFuse();
  } else if (type == "Replace") {
    FT_ASSIGN_OR_RETURN(Pattern pattern, ReadPattern(&object));
    FT_ASSIGN_OR_RETURN(std::string content, object.String("content"));
    decoder.AddReplace(std::move(pattern), std::move(content));
  } else if (type == "Strip") {
    FT_ASSIGN_OR_RETURN(std::string content, ReadCharacter(&object, "content"));
    FT_ASSIGN_OR_RETURN(const int64_t start, object.Integer("start"));
    FT_ASSIGN_OR_RETURN(const int64_t stop, object.Integer("stop"));
    if (start < 0 || stop < 0) return base::BadInput("{}: start and stop must not be negative", path);
    decoder.AddStrip(std::move(content), start, stop);
  } else if (type == "Metaspace") {
    FT_ASSIGN_OR_RETURN(MetaspaceFields fields, ReadMetaspace(&object));
    decoder.AddMetaspace(std::move(fields.replacement), fields.scheme != PrependScheme::kNever);
  } else {
    return Unsupported(object, type);
  }
  return object.CheckAllKnown();
}

// special_tokens of a TemplateProcessing: name → ids.
base::Result<std::unordered_map<std::string, std::vector<int32_t>>> ReadTemplateTokens(JsonObject* object,
                                                                                       const Parts& parts) {
  std::unordered_map<std::string, std::vector<int32_t>> tokens;
  const json* specials = object->Find("special_tokens");
  if (specials == nullptr) return tokens;
  if (!specials->is_object()) return base::BadInput("{}.special_tokens: expected an object", object->path());
  for (const auto& item : specials->items()) {
    const std::string path = fmt::format("{}.special_tokens[\"{}\"]", object->path(), item.key());
    FT_ASSIGN_OR_RETURN(JsonObject token, JsonObject::Of(item.value(), path));
    FT_ASSIGN_OR_RETURN(const json* ids, token.Array("ids"));
    token.Ignore("id");
    token.Ignore("tokens");
    FT_RETURN_IF_ERROR(token.CheckAllKnown());
    for (const json& id : *ids) {
      const int64_t number = id.is_number_integer() ? id.get<int64_t>() : -1;
      const bool added = std::any_of(parts.added.begin(), parts.added.end(),
                                     [number](const AddedToken& a) { return a.id == number; });
      if (!added && !parts.vocabulary->Has(number))
        return base::BadInput("{}: the id {} is not in the vocabulary", path, id.dump());
      tokens[item.key()].push_back(static_cast<int32_t>(number));
    }
  }
  return tokens;
}

base::Status ReadTemplate(JsonObject* object, Parts* parts) {
  FT_ASSIGN_OR_RETURN(const auto tokens, ReadTemplateTokens(object, *parts));
  FT_ASSIGN_OR_RETURN(const json* single, object->Array("single"));
  object->Ignore("pair");  // only for two texts at once
  int sequences = 0;
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  for (const json& piece : *single) {
    FT_ASSIGN_OR_RETURN(JsonObject entry, JsonObject::Of(piece, object->path() + ".single"));
    if (const json* sequence = entry.Find("Sequence"); sequence != nullptr) {
      ++sequences;
      FT_RETURN_IF_ERROR(entry.CheckAllKnown());
      continue;
    }
    const json* special = entry.Find("SpecialToken");
    FT_RETURN_IF_ERROR(entry.CheckAllKnown());
    if (special == nullptr)
      return base::BadInput("{}.single: a piece that is neither a sequence nor a token", object->path());
    FT_ASSIGN_OR_RETURN(JsonObject named, JsonObject::Of(*special, object->path() + ".single"));
    FT_ASSIGN_OR_RETURN(const std::string name, named.String("id"));
    const auto ids = tokens.find(name);
    if (ids == tokens.end())
      return base::BadInput("{}.single: \"{}\" is not among its special_tokens", object->path(), name);
    std::vector<int32_t>& side = sequences == 0 ? prefix : suffix;
    side.insert(side.end(), ids->second.begin(), ids->second.end());
  }
  if (sequences != 1)
    return base::BadInput("{}.single: expected the text once, got it {} times", object->path(), sequences);
  // Of several templates the later goes around the earlier.
  parts->prefix.insert(parts->prefix.begin(), prefix.begin(), prefix.end());
  parts->suffix.insert(parts->suffix.end(), suffix.begin(), suffix.end());
  return base::OkStatus();
}

base::Status ReadPostProcessorStep(const json& value, const std::string& path, int depth, Parts* parts) {
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(value, path));
  FT_ASSIGN_OR_RETURN(const std::string type, object.String("type"));
  if (type == "Sequence")
    return ReadSequence(std::move(object), "processors", depth, parts, ReadPostProcessorStep);
  if (type == "ByteLevel") {  // changes offsets, never ids
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) object.Ignore(key);
  } else if (type == "TemplateProcessing") {
    FT_RETURN_IF_ERROR(ReadTemplate(&object, parts));
  } else {
    return Unsupported(object, type);
  }
  return object.CheckAllKnown();
}

}  // namespace

base::Status ReadNormalizer(const json& value, Parts* parts) {
  return ReadNormalizerStep(value, "normalizer", 0, parts);
}
base::Status ReadPreTokenizer(const json& value, Parts* parts) {
  return ReadPreTokenizerStep(value, "pre_tokenizer", 0, parts);
}
base::Status ReadDecoder(const json& value, Parts* parts) {
  return ReadDecoderStep(value, "decoder", 0, parts);
}
base::Status ReadPostProcessor(const json& value, Parts* parts) {
  return ReadPostProcessorStep(value, "post_processor", 0, parts);
}

}  // namespace fusiontree::tokenizer
