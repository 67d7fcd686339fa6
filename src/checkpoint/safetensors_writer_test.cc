#include "checkpoint/safetensors_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/test_folder.h"

namespace fusiontree::checkpoint {
namespace {

using tensor::DType;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

class WriterTest : public FolderTest {
 protected:
  size_t FilesInFolder() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder()), {}));
  }
  std::string CreateError(const std::vector<TensorSpec>& specs) const {
    const auto writer = SafetensorsWriter::Create(Path("x.safetensors"), specs);
    return writer.ok() ? "accepted" : writer.status().message();
  }
};

TEST_F(WriterTest, WhatIsWrittenIsRead) {
  const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 3.0f, 4.0f, 5.0f};
  const std::vector<int64_t> ids = {7, -9, int64_t{1} << 40};
  {
    auto created =
        SafetensorsWriter::Create(Path("x.safetensors"), {{"logits \"\xc3\xa9\"", DType::kF32, {3, 2}},
                                                          {"flag", DType::kBool, {}},
                                                          {"none", DType::kF16, {0, 5}},
                                                          {"ids", DType::kI64, {3}}});
    ASSERT_TRUE(created.ok()) << created.status().message();
    SafetensorsWriter writer = std::move(created).value();
    for (size_t i = 0; i < 3; ++i) {  // taking turns
      ASSERT_TRUE(writer.Append("logits \"\xc3\xa9\"", &logits[2 * i], 8).ok());
      ASSERT_TRUE(writer.Append("ids", &ids[i], 8).ok());
    }
    EXPECT_FALSE(std::filesystem::exists(Path("x.safetensors")));
    ASSERT_TRUE(writer.Append("flag", "\1", 1).ok());
    ASSERT_TRUE(writer.Finish().ok());
  }
  EXPECT_EQ(FilesInFolder(), 1u);
  const auto opened = Checkpoint::OpenTensors(Path("x.safetensors"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  ASSERT_EQ((*opened).tensors().size(), 4u);
  for (const TensorInfo& info : (*opened).tensors())
    EXPECT_EQ(info.offset % tensor::Info(info.type).bytes, 0u);
  const TensorInfo* read = (*opened).Find("logits \"\xc3\xa9\"");
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->shape, (std::vector<int64_t>{3, 2}));
  std::vector<float> got(6);
  ASSERT_TRUE((*opened).Read(*read, 0, 24, got.data()).ok());
  EXPECT_EQ(got, logits);
  std::vector<int64_t> got_ids(3);
  ASSERT_TRUE((*opened).Read(*(*opened).Find("ids"), 0, 24, got_ids.data()).ok());
  EXPECT_EQ(got_ids, ids);
  struct stat status;
  ASSERT_EQ(stat(Path("x.safetensors").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0600u, 0600u);
}

TEST_F(WriterTest, UnfinishedLeavesTheOldFileAndNothingElse) {
  Put("x.safetensors", "old");
  {
    auto writer = SafetensorsWriter::Create(Path("x.safetensors"), {{"a", DType::kF32, {2}}});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Append("a", "1234", 4).ok());
    const base::Status status = writer->Finish();
    EXPECT_HAS(status.message(), "tensor \"a\" has 4 of 8 bytes");
  }
  EXPECT_EQ(FilesInFolder(), 1u);
  EXPECT_EQ(Get("x.safetensors"), "old");
}

TEST_F(WriterTest, BadInput) {
  EXPECT_HAS(CreateError({{"a", DType::kF32, {1}}, {"a", DType::kF32, {1}}}), "have the name \"a\"");
  EXPECT_HAS(CreateError({{"__metadata__", DType::kF32, {1}}}), "\"__metadata__\"");
  EXPECT_HAS(CreateError({{"a", DType::kQ4_0, {32}}}), "tensor \"a\" of type Q4_0 cannot be written");
  EXPECT_HAS(CreateError({{"a", DType::kF32, {-1}}}), "tensor \"a\" cannot be written: its dimension -1");
  EXPECT_HAS(CreateError({{"a", DType::kF32, {INT64_MAX, 3}}}), "tensor \"a\" cannot be written");
  EXPECT_HAS(CreateError({{"a\xff", DType::kF32, {1}}}),
             "tensor name \"a\\xff\" cannot be written: it is not UTF-8");
  EXPECT_EQ(FilesInFolder(), 0u);
  const auto error = [](const std::string& path) {
    return SafetensorsWriter::Create(path, {}).status().message();
  };
  EXPECT_HAS(error(Path("absent/x")), "absent/x\" cannot be written: No such file");
  EXPECT_HAS(error(folder()), "cannot be written: it is a folder");
  EXPECT_HAS(error("/dev/null"), "\"/dev/null\" cannot be written: it is a device");
}

TEST_F(WriterTest, NoTensorsAtAll) {
  auto writer = SafetensorsWriter::Create(Path("x.safetensors"), {}, {});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(Checkpoint::OpenTensors(Path("x.safetensors")).ok());
}

}  // namespace
}  // namespace fusiontree::checkpoint
