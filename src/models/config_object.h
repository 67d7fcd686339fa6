// A config.json object read key by key: typed access with errors that name the key, and a record of what was
// asked for, so that a key nobody knows is refused instead of ignored.
#ifndef FUSIONTREE_MODELS_CONFIG_OBJECT_H_
#define FUSIONTREE_MODELS_CONFIG_OBJECT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fusiontree::models {

class ConfigObject {
 public:
  // The text of a JSON object; `where` begins every error ("config.json").
  static base::Result<ConfigObject> Parse(std::string_view text, std::string where);
  ConfigObject(ConfigObject&&) noexcept;
  ~ConfigObject();

  // Each of these marks the key as known. null counts as absent.
  bool Has(const std::string& key);
  bool IsNull(const std::string& key);                // present and null
  base::Result<int64_t> Int(const std::string& key);  // required; whole numbers within +-2^53
  base::Result<int64_t> IntOr(const std::string& key, int64_t fallback);
  base::Result<int64_t> Positive(const std::string& key);  // required, 1 .. 2^31 - 1
  base::Result<int64_t> PositiveOr(const std::string& key, int64_t fallback);
  base::Result<double> NumberOr(const std::string& key, double fallback);  // finite
  base::Result<bool> BoolOr(const std::string& key, bool fallback);
  base::Result<std::string> StringOr(const std::string& key, std::string fallback);
  base::Result<std::vector<std::string>> StringsOr(const std::string& key);  // absent: empty
  base::Result<std::vector<int64_t>> IntsOr(const std::string& key);  // a number or a list; absent: empty
  base::Result<std::unique_ptr<ConfigObject>> Object(const std::string& key);  // absent: null pointer
  void Ignore(std::string_view key);

  // Fails naming the key when it is present with a value other than null, false, 0, 1 (only if
  // one_is_neutral), "",
  // [] or {}: such a value would change what the model computes.
  base::Status RequireNeutral(const std::string& key, bool one_is_neutral);
  // Fails naming the first key that was never asked for and whose value is not neutral.
  base::Status RefuseUnknown();
  // The same whatever its value: for configs that are nobody's but ours.
  base::Status RefuseAllUnknown();

  const std::string& where() const;
  bool SameAs(const ConfigObject& other) const;

 private:
  struct State;
  explicit ConfigObject(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_CONFIG_OBJECT_H_
