// Typed key-value metadata of a GGUF file.
#ifndef FUSIONTREE_CHECKPOINT_METADATA_H_
#define FUSIONTREE_CHECKPOINT_METADATA_H_

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"

namespace fusiontree::checkpoint {

// Integers of every width are widened to int64 (uint64 beyond int64 is refused by the reader), floats to
// double.
using MetaValue = std::variant<bool, int64_t, double, std::string, std::vector<bool>, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>>;

class Metadata {
 public:
  bool Has(const std::string& key) const { return values_.count(key) != 0; }
  // The value as T, or an error that names the key and says "missing" or which type was found.
  // T: bool, int64_t, double (integers are accepted), std::string, or one of the vectors above.
  template <typename T>
  base::Result<T> Get(const std::string& key) const;
  // The same, but `fallback` when the key is missing (a wrong type is still an error).
  template <typename T>
  base::Result<T> GetOr(const std::string& key, T fallback) const {
    if (!Has(key)) return fallback;
    return Get<T>(key);
  }
  // Borrowed access without a copy; null when missing or of another type.
  template <typename T>
  const T* Find(const std::string& key) const {
    auto it = values_.find(key);
    return it == values_.end() ? nullptr : std::get_if<T>(&it->second);
  }
  const std::map<std::string, MetaValue>& values() const { return values_; }
  void Set(std::string key, MetaValue value) { values_[std::move(key)] = std::move(value); }

 private:
  std::map<std::string, MetaValue> values_;
};

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_METADATA_H_
