#include "tokenizer/json_reader.h"

#include <unordered_map>
#include <unordered_set>

#include "base/json.h"
#include "tokenizer/bpe.h"
#include "tokenizer/json_document.h"
#include "tokenizer/json_steps.h"

namespace fusiontree::tokenizer {
namespace {

using nlohmann::json;

base::Result<AddedToken> ReadAddedToken(const json& value, const std::string& path,
                                        std::optional<int64_t> given_id) {
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(value, path));
  AddedToken token;
  int64_t id = 0;
  if (given_id.has_value()) {
    id = *given_id;
  } else {
    FT_ASSIGN_OR_RETURN(id, object.Integer("id"));
  }
  if (id < 0 || id > Vocabulary::kMaxId)
    return base::BadInput("{}: the id {} is not from 0 to {}", path, id, Vocabulary::kMaxId);
  token.id = static_cast<int32_t>(id);
  FT_ASSIGN_OR_RETURN(token.content, object.String("content"));
  if (token.content.empty()) return base::BadInput("{}.content is empty", path);
  if (token.content.size() > AddedTokenFinder::kMaxContentBytes)
    return base::BadInput("{}.content has {} bytes, expected at most {}", path, token.content.size(),
                          AddedTokenFinder::kMaxContentBytes);
  FT_ASSIGN_OR_RETURN(token.special, object.Bool("special", false));
  FT_ASSIGN_OR_RETURN(token.single_word, object.Bool("single_word", false));
  FT_ASSIGN_OR_RETURN(token.lstrip, object.Bool("lstrip", false));
  FT_ASSIGN_OR_RETURN(token.rstrip, object.Bool("rstrip", false));
  FT_ASSIGN_OR_RETURN(token.normalized, object.Bool("normalized", !token.special));
  object.Ignore("__type");
  FT_RETURN_IF_ERROR(object.CheckAllKnown());
  return token;
}

// Added tokens with what is needed to keep them unique.
class AddedTokens {
 public:
  explicit AddedTokens(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  base::Status Add(AddedToken token, const std::string& path) {
    const int32_t in_model = vocabulary_.Find(token.content);
    if (in_model >= 0 && in_model != token.id)
      return base::BadInput("{}: \"{}\" has the id {} here and {} in the vocabulary", path, token.content,
                            token.id, in_model);
    if (in_model < 0 && vocabulary_.Has(token.id))
      return base::BadInput("{}: \"{}\" has the id {}, which is \"{}\" in the vocabulary", path,
                            token.content, token.id, vocabulary_.Text(token.id));
    if (!contents_.insert(token.content).second)
      return base::BadInput("{}: the added token \"{}\" is there twice", path, token.content);
    if (!ids_.insert(token.id).second)
      return base::BadInput("{}: a second added token (\"{}\") has the id {}", path, token.content, token.id);
    tokens_.push_back(std::move(token));
    return base::OkStatus();
  }
  bool Has(const std::string& content) const { return contents_.count(content) != 0; }
  std::vector<AddedToken> Take() { return std::move(tokens_); }

 private:
  const Vocabulary& vocabulary_;
  std::vector<AddedToken> tokens_;
  std::unordered_set<std::string> contents_;
  std::unordered_set<int32_t> ids_;
};

base::Status ReadModel(const json& value, TokenizerDocument* document, Parts* parts) {
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(value, "model"));
  FT_ASSIGN_OR_RETURN(const std::string type, object.StringOr("type", "BPE"));  // old files leave it out
  if (type != "BPE") return base::BadInput("model: the type \"{}\" is not supported, only BPE is", type);
  if (!document->has_vocabulary) return base::BadInput("model.vocab is missing or no object");
  if (!document->has_merges) return base::BadInput("model.merges is missing or no list");
  BpeOptions options;
  FT_ASSIGN_OR_RETURN(options.byte_fallback, object.Bool("byte_fallback", false));
  FT_ASSIGN_OR_RETURN(options.fuse_unk, object.Bool("fuse_unk", false));
  FT_ASSIGN_OR_RETURN(options.ignore_merges, object.Bool("ignore_merges", false));
  FT_ASSIGN_OR_RETURN(options.unk_token, object.StringOr("unk_token", ""));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    FT_ASSIGN_OR_RETURN(const std::string affix, object.StringOr(key, ""));
    if (!affix.empty()) return base::BadInput("model.{} is \"{}\", which is not supported", key, affix);
  }
  if (const json* dropout = object.Find("dropout"); dropout != nullptr && *dropout != 0)
    return base::BadInput("model.dropout is {}, which would make the ids random", dropout->dump());
  FT_RETURN_IF_ERROR(object.CheckAllKnown());

  options.byte_level = parts->pre_tokenizer.TakeFinalByteLevel();
  std::vector<bool> special(parts->vocabulary->size(), false);
  for (const AddedToken& token : parts->added)
    if (token.special && token.id < parts->vocabulary->size()) special[token.id] = true;
  FT_ASSIGN_OR_RETURN(parts->model,
                      Bpe::Make(parts->vocabulary.get(), document->merges, options, std::move(special)));
  parts->description = options.byte_level ? "byte-level BPE" : "SentencePiece-style BPE";
  const int32_t unk = parts->Find(options.unk_token);
  if (unk >= 0) parts->unk_id = unk;
  return base::OkStatus();
}

// "bos_token": a string, an added token as an object, or null.
base::Result<std::optional<std::string>> NamedToken(const json& config, const std::string& what,
                                                    const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::optional<std::string>();
  const json& value = *found;
  if (value.is_string()) return std::optional<std::string>(value.get<std::string>());
  if (value.is_object()) {
    const auto content = value.find("content");
    if (content != value.end() && content->is_string())
      return std::optional<std::string>(content->get<std::string>());
  }
  return base::BadInput("{}: {} is neither a string nor an object with a string as content", what, key);
}

base::Status ReadNamedTokens(const json& config, const std::string& what, Parts* parts) {
  const auto read = [&](const char* key, bool required, std::optional<int32_t>* id) -> base::Status {
    FT_ASSIGN_OR_RETURN(const std::optional<std::string> content, NamedToken(config, what, key));
    if (!content.has_value() || content->empty() || id->has_value()) return base::OkStatus();
    const int32_t found = parts->Find(*content);
    if (found < 0 && required)
      return base::BadInput("{}: {} \"{}\" is not in the vocabulary", what, key, *content);
    if (found >= 0) *id = found;
    return base::OkStatus();
  };
  FT_RETURN_IF_ERROR(read("bos_token", true, &parts->bos_id));
  std::optional<int32_t> eos;
  if (!parts->eos_ids.empty()) eos = parts->eos_ids[0];
  FT_RETURN_IF_ERROR(read("eos_token", true, &eos));
  if (eos.has_value()) parts->eos_ids = {*eos};
  FT_RETURN_IF_ERROR(read("pad_token", false, &parts->pad_id));
  return read("unk_token", false, &parts->unk_id);
}

// A string, or a list of named templates of which "default" is the one.
base::Status ReadChatTemplate(const json& config, const std::string& what, Parts* parts) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return base::OkStatus();
  if (found->is_string()) {
    parts->chat_template = found->get<std::string>();
    return base::OkStatus();
  }
  if (!found->is_array())
    return base::BadInput("{}: chat_template is neither a string nor a list of templates", what);
  for (const json& entry : *found) {
    FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(entry, what + ".chat_template"));
    FT_ASSIGN_OR_RETURN(const std::string name, object.String("name"));
    FT_ASSIGN_OR_RETURN(const std::string text, object.String("template"));
    if (name == "default") parts->chat_template = text;
  }
  return base::OkStatus();
}

// Transformers' Llama class ignores the file's template and puts bos and eos as the config says.
base::Status ReadLlamaTemplate(JsonObject* config, Parts* parts) {
  FT_ASSIGN_OR_RETURN(const std::string name, config->StringOr("tokenizer_class", ""));
  static const std::unordered_set<std::string> kLlamaClasses = {
      "LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"};
  if (kLlamaClasses.count(name) == 0) return base::OkStatus();
  if (config->Find("add_bos_token") == nullptr && config->Find("add_eos_token") == nullptr)
    return base::OkStatus();
  FT_ASSIGN_OR_RETURN(const bool add_bos, config->Bool("add_bos_token", true));
  FT_ASSIGN_OR_RETURN(const bool add_eos, config->Bool("add_eos_token", false));
  if (add_bos && !parts->bos_id.has_value())
    return base::BadInput("tokenizer_config.json: add_bos_token is true, but there is no bos_token");
  if (add_eos && parts->eos_ids.empty())
    return base::BadInput("tokenizer_config.json: add_eos_token is true, but there is no eos_token");
  parts->prefix.clear();
  parts->suffix.clear();
  if (add_bos) parts->prefix = {*parts->bos_id};
  if (add_eos) parts->suffix = {parts->eos_ids[0]};
  return base::OkStatus();
}

base::Status ReadTokenList(const json& rest, const json& config, Parts* parts) {
  AddedTokens tokens(*parts->vocabulary);
  if (const auto list = rest.find("added_tokens"); list != rest.end() && !list->is_null()) {
    if (!list->is_array()) return base::BadInput("added_tokens: expected a list, got {}", list->type_name());
    for (size_t i = 0; i < list->size(); ++i) {
      const std::string path = fmt::format("added_tokens[{}]", i);
      FT_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken((*list)[i], path, std::nullopt));
      FT_RETURN_IF_ERROR(tokens.Add(std::move(token), path));
    }
  }
  // Transformers adds what only the config knows.
  if (const auto map = config.find("added_tokens_decoder"); map != config.end() && map->is_object()) {
    for (const auto& item : map->items()) {
      const std::string path = fmt::format("tokenizer_config.json: added_tokens_decoder[\"{}\"]", item.key());
      const std::string& key = item.key();
      if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos)
        return base::BadInput("{}: the key is no id", path);
      FT_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(item.value(), path, std::stoll(key)));
      if (!tokens.Has(token.content)) FT_RETURN_IF_ERROR(tokens.Add(std::move(token), path));
    }
  }
  parts->added = tokens.Take();
  return base::OkStatus();
}

base::Status ReadRest(TokenizerDocument* document, const json& config, Parts* parts) {
  FT_ASSIGN_OR_RETURN(JsonObject root, JsonObject::Of(document->rest, "the file"));
  // Transformers takes truncation and padding from the call, not from the file.
  for (const char* key : {"version", "truncation", "padding", "added_tokens"}) root.Ignore(key);
  FT_RETURN_IF_ERROR(ReadTokenList(document->rest, config, parts));
  if (const json* value = root.Find("normalizer"); value != nullptr)
    FT_RETURN_IF_ERROR(ReadNormalizer(*value, parts));
  if (const json* value = root.Find("pre_tokenizer"); value != nullptr)
    FT_RETURN_IF_ERROR(ReadPreTokenizer(*value, parts));
  if (const json* value = root.Find("post_processor"); value != nullptr)
    FT_RETURN_IF_ERROR(ReadPostProcessor(*value, parts));
  if (const json* value = root.Find("decoder"); value != nullptr) {
    FT_RETURN_IF_ERROR(ReadDecoder(*value, parts));
  } else {
    parts->decoder.JoinWithSpaces();
  }
  const json* model = root.Find("model");
  if (model == nullptr) return base::BadInput("model is missing");
  FT_RETURN_IF_ERROR(ReadModel(*model, document, parts));
  return root.CheckAllKnown();
}

base::Result<json> ParseFile(std::string_view text, const char* name) {
  base::Result<json> value = base::ParseJson(text);
  if (!value.ok()) return value.status().WithContext(name);
  return value;
}

}  // namespace

base::Result<Parts> ReadTokenizerJson(std::string_view tokenizer_json, const ConfigTexts& texts) {
  Parts parts;
  FT_ASSIGN_OR_RETURN(TokenizerDocument document,
                      ParseTokenizerDocument(tokenizer_json, parts.vocabulary.get()));
  json config = json::object();
  if (!texts.tokenizer_config.empty()) {
    FT_ASSIGN_OR_RETURN(config, ParseFile(texts.tokenizer_config, "tokenizer_config.json"));
    if (!config.is_object()) return base::BadInput("tokenizer_config.json: expected an object");
  }
  const base::Status status = ReadRest(&document, config, &parts);
  if (!status.ok()) return status.WithContext("tokenizer.json");
  FT_RETURN_IF_ERROR(ReadNamedTokens(config, "tokenizer_config.json", &parts));
  if (!texts.special_tokens_map.empty()) {
    FT_ASSIGN_OR_RETURN(const json map, ParseFile(texts.special_tokens_map, "special_tokens_map.json"));
    if (!map.is_object()) return base::BadInput("special_tokens_map.json: expected an object");
    FT_RETURN_IF_ERROR(ReadNamedTokens(map, "special_tokens_map.json", &parts));
  }
  FT_RETURN_IF_ERROR(ReadChatTemplate(config, "tokenizer_config.json", &parts));
  if (!texts.chat_template_json.empty() && parts.chat_template.empty()) {
    FT_ASSIGN_OR_RETURN(const json chat, ParseFile(texts.chat_template_json, "chat_template.json"));
    if (!chat.is_object()) return base::BadInput("chat_template.json: expected an object");
    FT_RETURN_IF_ERROR(ReadChatTemplate(chat, "chat_template.json", &parts));
  }
  FT_ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, "tokenizer_config.json"));
  FT_RETURN_IF_ERROR(ReadLlamaTemplate(&object, &parts));
  return parts;
}

}  // namespace fusiontree::tokenizer
