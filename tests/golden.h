// Golden values made by tools/.
#ifndef FUSIONTREE_TESTS_GOLDEN_H_
#define FUSIONTREE_TESTS_GOLDEN_H_

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fusiontree {

// A safetensors file of golden values, read by offset (its header is plain JSON).
class Golden {
 public:
  explicit Golden(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    uint64_t length;
    std::memcpy(&length, bytes.data(), 8);
    header_ = nlohmann::json::parse(bytes.substr(8, length));
    data_ = bytes.substr(8 + length);
  }
  bool Has(const std::string& name) const { return header_.contains(name); }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : header_.items())
      if (entry.key() != "__metadata__") names.push_back(entry.key());
    return names;
  }
  template <typename T>
  std::vector<T> Get(const std::string& name) const {
    const size_t begin = header_[name]["data_offsets"][0], end = header_[name]["data_offsets"][1];
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), data_.data() + begin, end - begin);
    return values;
  }
  std::vector<int32_t> Ids(const std::string& name) const {
    const std::vector<int64_t> wide = Get<int64_t>(name);
    return std::vector<int32_t>(wide.begin(), wide.end());
  }

 private:
  nlohmann::json header_;
  std::string data_;
};

}  // namespace fusiontree

#endif  // FUSIONTREE_TESTS_GOLDEN_H_
