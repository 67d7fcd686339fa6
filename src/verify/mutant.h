// For tests: a copy of a checkpoint in which something is wrong.
#ifndef FUSIONTREE_VERIFY_MUTANT_H_
#define FUSIONTREE_VERIFY_MUTANT_H_

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"

namespace fusiontree::verify {

// "fusiontree/base"
inline std::string DataFolder(const std::string& name) {
  return (std::filesystem::path(FUSIONTREE_TESTDATA) / name).string();
}
inline std::string ParityFolder(const std::string& name) { return DataFolder("parity/" + name); }

// Removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fusiontree_verify_XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

using ChangeConfig = std::function<void(nlohmann::json*)>;
using Bytes = std::vector<uint8_t>;
struct ChangeTensor {
  std::string name;
  std::function<void(Bytes*, const checkpoint::TensorInfo&)> change;
};

// A key that is there gets another value.
inline ChangeConfig Set(const char* key, nlohmann::json value) {
  return [key, value](nlohmann::json* config) {
    ASSERT_TRUE(config->contains(key));
    ASSERT_NE((*config)[key], value);
    (*config)[key] = value;
  };
}

// Writes the folder `from` to `to`, changed. Shards become one file.
inline void WriteMutant(const std::string& from, const std::filesystem::path& to, const ChangeConfig& config,
                        const std::vector<ChangeTensor>& changes) {
  auto source = checkpoint::Checkpoint::Open(from);
  ASSERT_TRUE(source.ok()) << source.status().message();
  std::vector<checkpoint::TensorSpec> specs;
  for (const checkpoint::TensorInfo& tensor : source->tensors())
    specs.push_back({tensor.name, tensor.type, tensor.shape});
  auto writer = checkpoint::SafetensorsWriter::Create((to / "model.safetensors").string(), specs);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  size_t changed = 0;
  for (const checkpoint::TensorInfo& tensor : source->tensors()) {
    Bytes bytes(tensor.bytes);
    ASSERT_TRUE(source->Read(tensor, 0, tensor.bytes, bytes.data()).ok());
    const Bytes before = bytes;
    for (const ChangeTensor& change : changes)
      if (change.name == tensor.name) change.change(&bytes, tensor);
    changed += bytes != before;
    ASSERT_TRUE(writer->Append(tensor.name, bytes.data(), bytes.size()).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(changed, changes.size()) << "a change that changes nothing";
  std::ifstream in(std::filesystem::path(from) / "config.json");
  nlohmann::json text = nlohmann::json::parse(in);
  if (config) config(&text);
  std::ofstream(to / "config.json") << text.dump(1);
}

// One step of the last place that bf16 has, in an element of any float type: seen whatever the products'
// type.
inline ChangeTensor OneStep(const std::string& name, size_t element) {
  return {name, [element](Bytes* bytes, const checkpoint::TensorInfo& tensor) {
            const size_t size = bytes->size() / static_cast<size_t>(tensor.elements());
            const bool half = tensor.type == tensor::DType::kF16;  // three more bits of mantissa than bf16
            (*bytes)[element * size + size - 2] ^= half ? 8 : 1;
          }};
}

// Exchanges rows [a, a + count) and [b, b + count): two heads that were mixed up.
inline ChangeTensor SwapRows(const std::string& name, size_t a, size_t b, size_t count) {
  return {name, [a, b, count](Bytes* bytes, const checkpoint::TensorInfo& tensor) {
            const size_t row = bytes->size() / static_cast<size_t>(tensor.shape[0]);
            std::swap_ranges(bytes->begin() + static_cast<std::ptrdiff_t>(a * row),
                             bytes->begin() + static_cast<std::ptrdiff_t>((a + count) * row),
                             bytes->begin() + static_cast<std::ptrdiff_t>(b * row));
          }};
}

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_MUTANT_H_
