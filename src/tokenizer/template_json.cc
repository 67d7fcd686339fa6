// TemplateValue from JSON text, through nlohmann's SAX interface (no exceptions, no second tree). A SAX
// handler keeps its own stack, so nesting is refused before anything recurses.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tokenizer/template_value.h"

namespace fusiontree::tokenizer {
namespace {

using base::BadInput;
using base::Result;
using base::Status;

constexpr size_t kMaxJsonDepth =
    kMaxTemplateValueDepth / 2;  // leaves room for what the template wraps around

class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(TextOrigin origin) : origin_(origin) {}

  bool null() override { return Add(TemplateValue()); }
  bool boolean(bool v) override { return Add(TemplateValue::Bool(v)); }
  bool number_integer(number_integer_t v) override { return Add(TemplateValue::Int(v)); }
  bool number_unsigned(number_unsigned_t v) override {
    if (v > static_cast<uint64_t>(INT64_MAX))
      return Refuse("an integer beyond 64 bits (" + std::to_string(v) + ")");
    return Add(TemplateValue::Int(static_cast<int64_t>(v)));
  }
  bool number_float(number_float_t v, const string_t& written) override {
    if (written.find_first_of(".eE") == string_t::npos) {
      return Refuse("an integer beyond 64 bits (" + written.substr(0, 40) + ")");
    }
    return Add(TemplateValue::Float(v));
  }
  bool string(string_t& v) override {
    const bool role = !stack_.empty() && stack_.back().dict != nullptr && stack_.back().key == "role";
    const TextOrigin origin = role && IsUsualRole(v) ? TextOrigin::kTemplate : origin_;
    return Add(TemplateValue::String(std::move(v), origin));
  }
  bool binary(binary_t&) override { return Refuse("binary data"); }
  bool start_object(size_t) override { return Open(std::make_shared<TemplateDict>()); }
  bool start_array(size_t) override { return Open(nullptr); }
  bool key(string_t& v) override {
    stack_.back().key = std::move(v);
    return true;
  }
  bool end_object() override {
    TemplateValue done = TemplateValue::Dict(std::move(stack_.back().dict));
    stack_.pop_back();
    return Add(std::move(done));
  }
  bool end_array() override {
    TemplateValue done = TemplateValue::List(std::move(stack_.back().items));
    stack_.pop_back();
    return Add(std::move(done));
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string what = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." -> from "line" on.
    const size_t at = what.find("] ");
    if (at != std::string::npos) what = what.substr(at + 2);
    return Refuse("no valid JSON at byte " + std::to_string(position) + " (" + what.substr(0, 200) + ")");
  }

  const std::string& problem() const { return problem_; }
  TemplateValue& root() { return root_; }

 private:
  struct Level {
    std::shared_ptr<TemplateDict> dict;  // null for an array
    std::string key;
    std::vector<TemplateValue> items;
  };

  bool Refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool Open(std::shared_ptr<TemplateDict> dict) {
    if (stack_.size() >= kMaxJsonDepth) {
      return Refuse("values nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    }
    stack_.push_back(Level{std::move(dict), "", {}});
    return true;
  }
  bool Add(TemplateValue value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (Level& level = stack_.back(); level.dict != nullptr) {
      level.dict->Set(TemplateValue::String(std::move(level.key), origin_), std::move(value), nullptr);
    } else {
      level.items.push_back(std::move(value));
    }
    return true;
  }

  TextOrigin origin_;
  std::vector<Level> stack_;
  TemplateValue root_;
  std::string problem_;
};

}  // namespace

Result<TemplateValue> TemplateValue::FromJson(std::string_view json, TextOrigin origin) {
  FT_RETURN_IF_ERROR(base::CheckJsonText(json).WithContext("the JSON text"));
  Builder builder(origin);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &builder)) {
    return BadInput("the JSON text holds {}", builder.problem().empty() ? "an error" : builder.problem());
  }
  return std::move(builder.root());
}

}  // namespace fusiontree::tokenizer
