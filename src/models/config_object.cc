#include "models/config_object.h"

#include <cmath>
#include <set>

#include "base/json.h"

namespace fusiontree::models {
namespace {

using Json = nlohmann::json;

std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

bool Neutral(const Json& value, bool one_is_neutral) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0.0 || (one_is_neutral && value.get<double>() == 1.0);
  return value.empty() || (value.is_string() && value.get_ref<const std::string&>().empty());
}

}  // namespace

struct ConfigObject::State {
  Json json;
  std::string where;
  std::set<std::string, std::less<>> known;

  // The value, or null when absent or JSON null.
  const Json* Find(const std::string& key) {
    known.insert(key);
    auto it = json.find(key);
    return it == json.end() || it->is_null() ? nullptr : &*it;
  }
  base::Status Wrong(const std::string& key, const char* expected) {
    return base::BadInput("{}: \"{}\" must be {}, got {}", where, key, expected, Shown(json[key]));
  }
};

ConfigObject::ConfigObject(std::unique_ptr<State> state) : state_(std::move(state)) {}
ConfigObject::ConfigObject(ConfigObject&&) noexcept = default;
ConfigObject::~ConfigObject() = default;
const std::string& ConfigObject::where() const { return state_->where; }
bool ConfigObject::SameAs(const ConfigObject& other) const { return state_->json == other.state_->json; }

base::Result<ConfigObject> ConfigObject::Parse(std::string_view text, std::string where) {
  base::Result<Json> json = base::ParseJson(text);
  if (!json.ok()) return json.status().WithContext(where);
  auto state = std::make_unique<State>();
  state->json = std::move(*json);
  state->where = std::move(where);
  if (!state->json.is_object()) return base::BadInput("{}: expected a JSON object", state->where);
  return ConfigObject(std::move(state));
}

bool ConfigObject::Has(const std::string& key) { return state_->Find(key) != nullptr; }

bool ConfigObject::IsNull(const std::string& key) {
  state_->known.insert(key);
  auto it = state_->json.find(key);
  return it != state_->json.end() && it->is_null();
}

base::Result<int64_t> ConfigObject::Int(const std::string& key) {
  const Json* value = state_->Find(key);
  if (value == nullptr) return base::BadInput("{}: \"{}\" is missing", state_->where, key);
  if (value->is_number_integer() || value->is_number_float()) {
    const double number = value->get<double>();
    if (std::fabs(number) <= 0x1p53 && number == std::floor(number)) return static_cast<int64_t>(number);
  }
  return state_->Wrong(key, "a whole number");
}

base::Result<int64_t> ConfigObject::IntOr(const std::string& key, int64_t fallback) {
  if (!Has(key)) return fallback;
  return Int(key);
}

base::Result<int64_t> ConfigObject::Positive(const std::string& key) {
  FT_ASSIGN_OR_RETURN(const int64_t value, Int(key));
  if (value < 1 || value > INT32_MAX) return state_->Wrong(key, "from 1 to 2147483647");
  return value;
}

base::Result<int64_t> ConfigObject::PositiveOr(const std::string& key, int64_t fallback) {
  if (!Has(key)) return fallback;
  return Positive(key);
}

base::Result<double> ConfigObject::NumberOr(const std::string& key, double fallback) {
  const Json* value = state_->Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    return state_->Wrong(key, "a finite number");
  return value->get<double>();
}

base::Result<bool> ConfigObject::BoolOr(const std::string& key, bool fallback) {
  const Json* value = state_->Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return state_->Wrong(key, "true or false");
  return value->get<bool>();
}

base::Result<std::string> ConfigObject::StringOr(const std::string& key, std::string fallback) {
  const Json* value = state_->Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) return state_->Wrong(key, "a string");
  return value->get<std::string>();
}

base::Result<std::vector<std::string>> ConfigObject::StringsOr(const std::string& key) {
  std::vector<std::string> result;
  const Json* value = state_->Find(key);
  if (value == nullptr) return result;
  if (!value->is_array()) return state_->Wrong(key, "a list of strings");
  for (const Json& item : *value) {
    if (!item.is_string()) return state_->Wrong(key, "a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

base::Result<std::vector<int64_t>> ConfigObject::IntsOr(const std::string& key) {
  std::vector<int64_t> result;
  const Json* value = state_->Find(key);
  if (value == nullptr) return result;
  if (value->is_number_integer()) return std::vector<int64_t>{value->get<int64_t>()};
  if (!value->is_array()) return state_->Wrong(key, "a whole number or a list of them");
  for (const Json& item : *value) {
    if (!item.is_number_integer()) return state_->Wrong(key, "a whole number or a list of them");
    result.push_back(item.get<int64_t>());
  }
  return result;
}

base::Result<std::unique_ptr<ConfigObject>> ConfigObject::Object(const std::string& key) {
  const Json* value = state_->Find(key);
  if (value == nullptr) return std::unique_ptr<ConfigObject>();
  if (!value->is_object()) return state_->Wrong(key, "an object");
  auto state = std::make_unique<State>();
  state->json = *value;
  state->where = state_->where + ": " + key;
  return std::unique_ptr<ConfigObject>(new ConfigObject(std::move(state)));
}

void ConfigObject::Ignore(std::string_view key) { state_->known.emplace(key); }

base::Status ConfigObject::RequireNeutral(const std::string& key, bool one_is_neutral) {
  const Json* value = state_->Find(key);
  if (value == nullptr || Neutral(*value, one_is_neutral)) return base::OkStatus();
  return base::BadInput("{}: \"{}\": {} is not supported: it changes what the model computes", state_->where,
                        key, Shown(*value));
}

base::Status ConfigObject::RefuseUnknown() {
  for (const auto& [key, value] : state_->json.items()) {
    if (state_->known.count(key) || (!key.empty() && key[0] == '_') || Neutral(value, false)) continue;
    return base::BadInput("{}: the key \"{}\" ({}) is not known, so it may change what the model computes",
                          state_->where, key, Shown(value));
  }
  return base::OkStatus();
}

base::Status ConfigObject::RefuseAllUnknown() {
  for (const auto& [key, value] : state_->json.items())
    if (!state_->known.count(key))
      return base::BadInput("{}: the key \"{}\" ({}) is not known", state_->where, key, Shown(value));
  return base::OkStatus();
}

}  // namespace fusiontree::models
