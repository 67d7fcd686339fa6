#include "tokenizer/json_document.h"

#include <vector>

#include "base/json.h"

namespace fusiontree::tokenizer {
namespace {

using nlohmann::json;

// Builds a JSON value from the parser's events; the first error ends the parse.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(TokenizerDocument* document, Vocabulary* vocabulary)
      : document_(document), vocabulary_(vocabulary) {}

  const base::Status& status() const { return status_; }
  json TakeRoot() { return std::move(root_); }

  bool null() override { return Value(nullptr); }
  bool boolean(bool value) override { return Value(value); }
  bool number_float(double value, const std::string&) override { return Value(value); }
  bool binary(json::binary_t&) override { return Fail(base::BadInput("binary data")); }
  bool number_integer(int64_t value) override {
    return mode_ == Mode::kVocabulary ? AddToken(value) : Value(value);
  }
  bool number_unsigned(uint64_t value) override {
    if (mode_ != Mode::kVocabulary) return Value(value);
    return AddToken(value > INT64_MAX ? INT64_MAX : static_cast<int64_t>(value));
  }
  bool string(std::string& value) override {
    if (mode_ == Mode::kMerges) return AddMerge(value);
    if (mode_ == Mode::kMergePair) {
      pair_.push_back(std::move(value));
      return pair_.size() <= 2 || Fail(base::BadInput("merge {} has more than two parts", merge_count()));
    }
    return Value(std::move(value));
  }
  bool key(std::string& name) override {
    if (mode_ == Mode::kVocabulary) {
      key_ = std::move(name);
      return true;
    }
    if (stack_.back()->contains(name))
      return Fail(base::BadInput("the key \"{}\" is twice in one object", name));
    key_ = std::move(name);
    return true;
  }
  bool start_object(size_t) override {
    if (mode_ == Mode::kNormal && AtModel("vocab")) {
      if (document_->has_vocabulary) return Fail(base::BadInput("the key \"vocab\" is twice in one object"));
      mode_ = Mode::kVocabulary;
      document_->has_vocabulary = true;
      return true;
    }
    return Open(json::object());
  }
  bool end_object() override {
    if (mode_ == Mode::kVocabulary) {
      mode_ = Mode::kNormal;
      return true;
    }
    return Close();
  }
  bool start_array(size_t) override {
    if (mode_ == Mode::kNormal && AtModel("merges")) {
      if (document_->has_merges) return Fail(base::BadInput("the key \"merges\" is twice in one object"));
      mode_ = Mode::kMerges;
      document_->has_merges = true;
      return true;
    }
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kMergePair;
      pair_.clear();
      return true;
    }
    return Open(json::array());
  }
  bool end_array() override {
    if (mode_ == Mode::kMergePair) {
      mode_ = Mode::kMerges;
      if (pair_.size() != 2) return Fail(base::BadInput("merge {} does not have two parts", merge_count()));
      document_->merges.Add(pair_[0], pair_[1]);
      return true;
    }
    if (mode_ == Mode::kMerges) {
      mode_ = Mode::kNormal;
      return true;
    }
    return Close();
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view reason = error.what();
    const size_t colon = reason.find("; ");  // behind it stands the last text read, of any length
    reason = reason.substr(0, std::min<size_t>({colon, reason.size(), 200}));
    return Fail(base::BadInput("not valid JSON at byte {}: {}", position, reason));
  }

 private:
  enum class Mode { kNormal, kVocabulary, kMerges, kMergePair };

  bool Fail(base::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return false;
  }
  size_t merge_count() const { return document_->merges.pairs.size(); }
  // Whether the value to come is the root's model.`name`.
  bool AtModel(std::string_view name) const {
    return document_ != nullptr && stack_.size() == 2 && in_model_ && stack_.back()->is_object() &&
           key_ == name;
  }
  bool AddToken(int64_t id) {
    const base::Status status = vocabulary_->Add(key_, id);
    return status.ok() || Fail(status);
  }
  // The old form: both parts in one string, a space between. A first line "#version" counts as none.
  bool AddMerge(const std::string& line) {
    if (line.starts_with("#version")) return true;
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
      return Fail(base::BadInput("merge {} (\"{}\") does not have two parts", merge_count(), line));
    const std::string_view view = line;
    document_->merges.Add(view.substr(0, space), view.substr(space + 1));
    return true;
  }
  json* Place(json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& top = *stack_.back();
    if (top.is_array()) {
      top.push_back(std::move(value));
      return &top.back();
    }
    return &(top[key_] = std::move(value));
  }
  bool Value(json value) {
    if (mode_ == Mode::kVocabulary)
      return Fail(base::BadInput("token \"{}\" has an id that is not an integer", key_));
    if (mode_ != Mode::kNormal)
      return Fail(base::BadInput("merge {} is neither a string nor a pair", merge_count()));
    Place(std::move(value));
    return true;
  }
  bool Open(json empty) {
    if (mode_ != Mode::kNormal) return Value(nullptr);
    if (stack_.size() == base::kMaxJsonDepth)
      return Fail(base::BadInput("it is nested deeper than {} levels", base::kMaxJsonDepth));
    const bool model = stack_.size() == 1 && stack_[0]->is_object() && key_ == "model";
    stack_.push_back(Place(std::move(empty)));
    if (model) in_model_ = true;
    return true;
  }
  bool Close() {
    stack_.pop_back();
    if (stack_.size() <= 1) in_model_ = false;
    return true;
  }

  TokenizerDocument* document_;
  Vocabulary* vocabulary_;
  base::Status status_;
  json root_;
  std::vector<json*> stack_;  // an element's address holds while it is open: nothing is added beside it
  std::string key_;
  bool in_model_ = false;
  Mode mode_ = Mode::kNormal;
  std::vector<std::string> pair_;
};

}  // namespace

base::Result<TokenizerDocument> ParseTokenizerDocument(std::string_view text, Vocabulary* vocabulary) {
  FT_RETURN_IF_ERROR(base::CheckJsonText(text).WithContext("tokenizer.json"));
  TokenizerDocument document;
  Builder builder(&document, vocabulary);
  if (!json::sax_parse(text.begin(), text.end(), &builder))
    return builder.status().WithContext("tokenizer.json");
  document.rest = builder.TakeRoot();
  return document;
}

base::Result<JsonObject> JsonObject::Of(const json& value, std::string path) {
  if (!value.is_object()) return base::BadInput("{}: expected an object, got {}", path, value.type_name());
  return JsonObject(&value, std::move(path));
}

const json* JsonObject::Find(const char* key) {
  asked_.insert(key);
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

base::Result<bool> JsonObject::Bool(const char* key, bool fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean())
    return base::BadInput("{}.{}: expected true or false, got {}", path_, key, value->type_name());
  return value->get<bool>();
}

base::Result<std::string> JsonObject::String(const char* key) {
  const json* value = Find(key);
  if (value == nullptr) return base::BadInput("{}.{} is missing", path_, key);
  if (!value->is_string())
    return base::BadInput("{}.{}: expected a string, got {}", path_, key, value->type_name());
  return value->get<std::string>();
}

base::Result<std::string> JsonObject::StringOr(const char* key, std::string fallback) {
  if (Find(key) == nullptr) return fallback;
  return String(key);
}

base::Result<int64_t> JsonObject::Integer(const char* key) {
  const json* value = Find(key);
  if (value == nullptr) return base::BadInput("{}.{} is missing", path_, key);
  if (value->is_number_unsigned() && value->get<uint64_t>() <= INT64_MAX) return value->get<int64_t>();
  if (value->is_number_integer() && !value->is_number_unsigned()) return value->get<int64_t>();
  return base::BadInput("{}.{}: expected an integer, got {}", path_, key,
                        value->is_number() ? value->dump() : value->type_name());
}

base::Result<const json*> JsonObject::Array(const char* key) {
  const json* value = Find(key);
  if (value == nullptr) return base::BadInput("{}.{} is missing", path_, key);
  if (!value->is_array())
    return base::BadInput("{}.{}: expected a list, got {}", path_, key, value->type_name());
  return value;
}

base::Status JsonObject::CheckAllKnown() const {
  for (const auto& item : value_->items())
    if (asked_.count(item.key()) == 0)
      return base::BadInput("{}: the key \"{}\" is not known", path_, item.key());
  return base::OkStatus();
}

}  // namespace fusiontree::tokenizer
