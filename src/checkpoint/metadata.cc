#include "checkpoint/metadata.h"

#include <string_view>
#include <type_traits>

#include "base/bytes.h"

namespace fusiontree::checkpoint {
namespace {

using base::BadInput;
using base::Quote;
using base::Result;

template <typename T>
constexpr std::string_view TypeName() {
  if constexpr (std::is_same_v<T, bool>) return "a boolean";
  if constexpr (std::is_same_v<T, int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_same_v<T, std::vector<bool>>) return "a list of booleans";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "a list of integers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "a list of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of strings";
}

}  // namespace

template <typename T>
Result<T> Metadata::Get(const std::string& key) const {
  auto it = values_.find(key);
  if (it == values_.end()) return BadInput("metadata key {} is missing", Quote(key));
  if (const T* value = std::get_if<T>(&it->second)) return *value;
  if constexpr (std::is_same_v<T, double>) {
    if (const int64_t* value = std::get_if<int64_t>(&it->second)) return static_cast<double>(*value);
  }
  if constexpr (std::is_same_v<T, std::vector<double>>) {
    if (const auto* values = std::get_if<std::vector<int64_t>>(&it->second)) {
      return std::vector<double>(values->begin(), values->end());
    }
  }
  const std::string_view found =
      std::visit([](const auto& value) { return TypeName<std::decay_t<decltype(value)>>(); }, it->second);
  return BadInput("metadata key {} must be {}, but is {}", Quote(key), TypeName<T>(), found);
}

template Result<bool> Metadata::Get(const std::string&) const;
template Result<int64_t> Metadata::Get(const std::string&) const;
template Result<double> Metadata::Get(const std::string&) const;
template Result<std::string> Metadata::Get(const std::string&) const;
template Result<std::vector<bool>> Metadata::Get(const std::string&) const;
template Result<std::vector<int64_t>> Metadata::Get(const std::string&) const;
template Result<std::vector<double>> Metadata::Get(const std::string&) const;
template Result<std::vector<std::string>> Metadata::Get(const std::string&) const;

}  // namespace fusiontree::checkpoint
