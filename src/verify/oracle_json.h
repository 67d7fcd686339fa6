// How the oracle reads config.json: for .cc files only, as it includes nlohmann/json.hpp.
#ifndef FUSIONTREE_VERIFY_ORACLE_JSON_H_
#define FUSIONTREE_VERIFY_ORACLE_JSON_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace fusiontree::verify {

inline base::Result<nlohmann::json> ReadConfigObject(const checkpoint::Checkpoint& checkpoint) {
  FT_ASSIGN_OR_RETURN(const std::optional<std::string> text, checkpoint.ReadText("config.json"));
  if (!text) return base::BadInput("{} has no config.json", base::Quote(checkpoint.path()));
  base::Result<nlohmann::json> parsed = base::ParseJson(*text);
  if (!parsed.ok()) return parsed.status().WithContext("config.json of " + base::Quote(checkpoint.path()));
  if (!parsed->is_object())
    return base::BadInput("config.json of {} is not a JSON object", base::Quote(checkpoint.path()));
  return parsed;
}

// null counts as absent, and so does a value of another type.
inline const nlohmann::json* Key(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}
inline double Number(const nlohmann::json& object, const char* key, double fallback) {
  const nlohmann::json* value = Key(object, key);
  return value && value->is_number() ? value->get<double>() : fallback;
}
// No size is larger than 2^31; what is, stays too large, and no product of two overflows.
inline int64_t Integer(const nlohmann::json& object, const char* key, int64_t fallback) {
  constexpr double kMost = 0x1p31 + 1;
  return static_cast<int64_t>(std::clamp(Number(object, key, static_cast<double>(fallback)), -kMost, kMost));
}
inline bool Flag(const nlohmann::json& object, const char* key, bool fallback = false) {
  const nlohmann::json* value = Key(object, key);
  return value && value->is_boolean() ? value->get<bool>() : fallback;
}
inline std::string Text(const nlohmann::json& object, const char* key, const std::string& fallback = "") {
  const nlohmann::json* value = Key(object, key);
  return value && value->is_string() ? value->get<std::string>() : fallback;
}

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_ORACLE_JSON_H_
