// For the tests of this folder: a folder of their own.
#ifndef FUSIONTREE_DATA_TESTING_H_
#define FUSIONTREE_DATA_TESTING_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "data/byte_tokenizer.h"

namespace fusiontree::data {

class TempFolder : public testing::Test {
 protected:
  TempFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "fusiontree-data-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~TempFolder() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  std::string Slurp(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string folder_;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_TESTING_H_
