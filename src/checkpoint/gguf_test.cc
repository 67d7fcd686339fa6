#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

namespace fusiontree::checkpoint {
namespace {

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// Appends fields one after the other.
class Builder {
 public:
  template <typename T>
  Builder& Put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Builder& U32(uint32_t value) { return Put(value); }
  Builder& U64(uint64_t value) { return Put(value); }
  Builder& Text(const std::string& text) {
    U64(text.size());
    bytes_ += text;
    return *this;
  }
  Builder& Raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  Builder& Start(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
    return Raw("GGUF").U32(version).U64(tensors).U64(pairs);
  }
  Builder& Tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                  uint64_t offset) {
    Text(name).U32(static_cast<uint32_t>(dims.size()));
    for (uint64_t dim : dims) U64(dim);
    return U32(type).U64(offset);
  }
  Builder& Data(size_t size, size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment + size);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

base::Result<GgufHeader> Parse(const std::string& bytes) {
  bool needs_more = false;
  auto result =
      ParseGguf({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, bytes.size(), &needs_more);
  EXPECT_FALSE(needs_more);
  return result;
}

std::string Error(const std::string& bytes) {
  const auto result = Parse(bytes);
  if (result.ok()) return "accepted";
  EXPECT_EQ(result.status().kind(), base::ErrorKind::kBadInput);
  return result.status().message();
}
std::string Error(const Builder& builder) { return Error(builder.bytes()); }

// One metadata pair with `type`, then `value`.
Builder Pair(const std::string& key, uint32_t type, const Builder& value) {
  return Builder().Start(0, 1).Text(key).U32(type).Raw(value.bytes());
}
Builder OneTensor(const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, size_t data) {
  return Builder().Start(1, 0).Tensor("w", dims, type, offset).Data(data);
}

Builder Valid(uint32_t version) {
  Builder b;
  b.Start(2, 4, version);
  b.Text("general.alignment").U32(4).U32(64);
  b.Text("name").U32(8).Text("tiny");
  b.Text("tokens").U32(9).U32(8).U64(2).Text("a").Text("");
  b.Text("scale").U32(6).Put(0.5f);
  b.Tensor("b", {32, 3}, 2, 64).Tensor("a", {3}, 0, 0);
  return b.Data(64 + 54, 64);
}

TEST(Gguf, ReadsBothVersions) {
  for (uint32_t version : {2u, 3u}) {
    const Builder file = Valid(version);
    const auto result = Parse(file.bytes());
    ASSERT_TRUE(result.ok()) << result.status().message();
    const std::vector<TensorInfo>& tensors = (*result).tensors;
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_EQ(tensors[0].name, "b");
    EXPECT_EQ(tensors[0].type, tensor::DType::kQ4_0);
    EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{3, 32}));
    EXPECT_EQ(tensors[0].bytes, 54u);
    EXPECT_EQ(tensors[0].offset, file.bytes().size() - 54);
    EXPECT_EQ(tensors[1].bytes, 12u);
    EXPECT_EQ(tensors[1].offset, file.bytes().size() - 118);
    const Metadata& metadata = (*result).metadata;
    EXPECT_EQ(*metadata.Get<std::string>("name"), "tiny");
    EXPECT_EQ(*metadata.Get<std::vector<std::string>>("tokens"), (std::vector<std::string>{"a", ""}));
    EXPECT_EQ(*metadata.Get<double>("scale"), 0.5);
    EXPECT_EQ(*metadata.Get<double>("general.alignment"), 64.0);
    EXPECT_EQ(*metadata.GetOr<int64_t>("absent", 7), 7);
    EXPECT_EQ(metadata.Get<int64_t>("absent").status().message(), "metadata key \"absent\" is missing");
    EXPECT_EQ(metadata.Get<int64_t>("name").status().message(),
              "metadata key \"name\" must be an integer, but is a string");
    EXPECT_EQ(metadata.GetOr<bool>("tokens", true).status().message(),
              "metadata key \"tokens\" must be a boolean, but is a list of strings");
    EXPECT_EQ(metadata.Find<bool>("name"), nullptr);
  }
}

TEST(Gguf, EveryScalarAndArrayType) {
  Builder b;
  b.Start(0, 12);
  b.Text("u8").U32(0).Put<uint8_t>(200).Text("i8").U32(1).Put<int8_t>(-3);
  b.Text("u16").U32(2).Put<uint16_t>(65535).Text("i16").U32(3).Put<int16_t>(-300);
  b.Text("u32").U32(4).U32(0xffffffffu).Text("i32").U32(5).Put<int32_t>(-70000);
  b.Text("u64").U32(10).U64(INT64_MAX).Text("i64").U32(11).Put<int64_t>(INT64_MIN);
  b.Text("f64").U32(12).Put(1e300).Text("bool").U32(7).Put<uint8_t>(1);
  b.Text("bools").U32(9).U32(7).U64(3).Put<uint8_t>(1).Put<uint8_t>(0).Put<uint8_t>(1);
  b.Text("floats").U32(9).U32(6).U64(2).Put(1.5f).Put(-2.0f);
  const auto result = Parse(b.bytes());
  ASSERT_TRUE(result.ok()) << result.status().message();
  const Metadata& m = (*result).metadata;
  EXPECT_EQ(*m.Get<int64_t>("u8"), 200);
  EXPECT_EQ(*m.Get<int64_t>("i8"), -3);
  EXPECT_EQ(*m.Get<int64_t>("u16"), 65535);
  EXPECT_EQ(*m.Get<int64_t>("i16"), -300);
  EXPECT_EQ(*m.Get<int64_t>("u32"), 0xffffffffLL);
  EXPECT_EQ(*m.Get<int64_t>("i32"), -70000);
  EXPECT_EQ(*m.Get<int64_t>("u64"), INT64_MAX);
  EXPECT_EQ(*m.Get<int64_t>("i64"), INT64_MIN);
  EXPECT_EQ(*m.Get<double>("f64"), 1e300);
  EXPECT_TRUE(*m.Get<bool>("bool"));
  EXPECT_EQ(*m.Get<std::vector<bool>>("bools"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(*m.Get<std::vector<double>>("floats"), (std::vector<double>{1.5, -2.0}));
  for (uint32_t type : {0u, 1u, 2u, 3u, 4u, 5u, 10u, 11u}) {  // integer arrays of every width
    const size_t width = type < 2 ? 1 : type < 4 ? 2 : type < 6 ? 4 : 8;
    std::string values(2 * width, '\0');
    values[0] = 5;
    values[width] = 9;
    const auto array = Parse(Pair("k", 9, Builder().U32(type).U64(2).Raw(values)).bytes());
    ASSERT_TRUE(array.ok()) << array.status().message();
    EXPECT_EQ(*(*array).metadata.Get<std::vector<int64_t>>("k"), (std::vector<int64_t>{5, 9}));
    EXPECT_EQ(*(*array).metadata.Get<std::vector<double>>("k"), (std::vector<double>{5, 9}));
  }
}

TEST(Gguf, CutAnywhere) {
  const std::string whole = Valid(3).bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string error = Error(whole.substr(0, size));
    EXPECT_NE(error, "accepted") << size;
    EXPECT_TRUE(error.find("left") != std::string::npos || error.find("past the end") != std::string::npos)
        << error;
  }
  EXPECT_HAS(Error("GGUF"), "the GGUF version at byte 4 needs 4 bytes, but only 0 are left");
  EXPECT_HAS(Error(whole.substr(0, whole.size() - 1)),
             "tensor \"b\" of 54 bytes goes past the end of the file");
}

TEST(Gguf, AsksForMoreOnlyWhenTheFileHasMore) {
  const std::string whole = Valid(3).bytes();
  const size_t data = whole.size() - 118;  // up to 63 bytes of padding lie before it
  size_t parsed = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    bool needs_more = false;
    const auto result =
        ParseGguf({reinterpret_cast<const uint8_t*>(whole.data()), size}, whole.size(), &needs_more);
    EXPECT_TRUE(result.ok() != needs_more) << size;
    parsed += result.ok();
  }
  EXPECT_GE(parsed, 118u);
  EXPECT_LT(whole.size() - parsed, data + 1);
  EXPECT_GT(whole.size() - parsed, data - 64);
}

TEST(Gguf, MagicVersionAndByteOrder) {
  EXPECT_HAS(Error("GGML" + std::string(20, '\0')), "starts with \"GGML\"");
  EXPECT_HAS(Error("FUGG" + std::string(20, '\0')), "big endian");
  for (uint32_t version : {0u, 1u, 4u, 0x80000000u - 1, 0xffffffffu}) {
    EXPECT_HAS(Error(Builder().Start(0, 0, version)), fmt::format("version is {}", version));
  }
  EXPECT_HAS(Error(Builder().Start(0, 0, 0x03000000u)), "big endian");
  EXPECT_HAS(Error(Builder().Start(0, 0, 0x02000000u)), "big endian");
}

TEST(Gguf, CountsAndLengthsBeyondTheFile) {
  for (uint64_t huge : {uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}}) {
    const std::string number = std::to_string(huge);
    EXPECT_HAS(Error(Builder().Start(huge, 0).Data(100)), "the tensor count is " + number);
    EXPECT_HAS(Error(Builder().Start(0, huge).Data(100)), "the metadata count is " + number);
    EXPECT_HAS(Error(Builder().Start(0, 1).U64(huge).Data(100)),
               "metadata key 1 of 1 has the length " + number);
    EXPECT_HAS(Error(Pair("k", 8, Builder().U64(huge).Data(100))),
               "metadata key \"k\": a string has the length " + number);
    for (uint32_t type : {0u, 6u, 7u, 8u, 10u, 12u}) {
      EXPECT_HAS(Error(Pair("k", 9, Builder().U32(type).U64(huge).Data(100))),
                 "metadata key \"k\": the length of the array is " + number);
    }
    EXPECT_HAS(Error(Builder().Start(1, 0).U64(huge).Data(100)),
               "the name of tensor 1 of 1 has the length " + number);
    EXPECT_HAS(Error(Builder().Start(1, 0).Text("w").U32(1).U64(huge).U32(0).U64(0).Data(100)),
               "tensor \"w\"");
    EXPECT_HAS(Error(Builder().Start(1, 0).Text("w").U32(1).U64(1).U32(0).U64(huge).Data(100)),
               "tensor \"w\"");
  }
  // A big file makes such counts plausible; what was handed over still bounds what is allocated.
  const Builder start = Pair("k", 9, Builder().U32(8).U64(16u << 20));
  bool needs_more = false;
  const auto result =
      ParseGguf({reinterpret_cast<const uint8_t*>(start.bytes().data()), start.bytes().size()},
                uint64_t{1} << 40, &needs_more);
  EXPECT_FALSE(result.ok());
  EXPECT_TRUE(needs_more);
  const Builder beyond = Pair("k", 9, Builder().U32(8).U64((16u << 20) + 1));
  const auto refused =
      ParseGguf({reinterpret_cast<const uint8_t*>(beyond.bytes().data()), beyond.bytes().size()},
                uint64_t{1} << 40, &needs_more);
  EXPECT_HAS(refused.status().message(), "metadata key \"k\": an array of 16777217 elements");
  EXPECT_FALSE(needs_more);
}

TEST(Gguf, Metadata) {
  EXPECT_HAS(Error(Pair("k", 9, Builder().U32(9).U64(1).Data(100))),
             "metadata key \"k\": it is an array of arrays");
  EXPECT_HAS(Error(Pair("k", 13, Builder().Data(8))), "metadata key \"k\": the value type 13 does not exist");
  EXPECT_HAS(Error(Pair("k", 9, Builder().U32(13).U64(1).Data(8))), "metadata key \"k\": the value type 13");
  EXPECT_HAS(Error(Pair("k", 10, Builder().U64(uint64_t{1} << 63))),
             "\"k\": the value 9223372036854775808 does not fit");
  EXPECT_HAS(Error(Pair("k", 9, Builder().U32(10).U64(1).U64(~uint64_t{0}))),
             "\"k\": element 0 of 1: the value 1844");
  EXPECT_HAS(Error(Pair("k", 7, Builder().Put<uint8_t>(2))), "\"k\": a boolean must be 0 or 1, but is 2");
  EXPECT_HAS(Error(Pair("", 7, Builder().Put<uint8_t>(1))),
             "metadata key 1 of 1 must have 1 to 65535 bytes, but has 0");
  EXPECT_HAS(Error(Pair(std::string(65536, 'k'), 7, Builder().Put<uint8_t>(1))), "but has 65536");
  EXPECT_HAS(Error(Pair("k\xff", 7, Builder().Put<uint8_t>(1))), "\"k\\xff\", is not UTF-8");
  EXPECT_HAS(Error(Builder().Start(0, 2).Text("k").U32(4).U32(1).Text("k").U32(4).U32(1)),
             "metadata key \"k\" appears twice");
  EXPECT_HAS(Error(Pair("split.count", 2, Builder().Put<uint16_t>(3))), "one of 3 parts");
  EXPECT_EQ(Error(Pair("split.count", 2, Builder().Put<uint16_t>(1))), "accepted");
}

TEST(Gguf, Alignment) {
  for (uint32_t alignment : {0u, 1u, 3u, 24u, 1u << 17, 1u << 31}) {
    EXPECT_HAS(
        Error(Pair("general.alignment", 4, Builder().U32(alignment))),
        fmt::format("\"general.alignment\" must be a power of two from 8 to 65536, but is {}", alignment));
  }
  EXPECT_HAS(Error(Pair("general.alignment", 10, Builder().U64(32))),
             "\"general.alignment\" must be of type uint32");
  EXPECT_HAS(Error(Pair("general.alignment", 8, Builder().Text("32"))),
             "\"general.alignment\" must be of type uint32");
  EXPECT_EQ(Error(Pair("general.alignment", 4, Builder().U32(8))), "accepted");
}

TEST(Gguf, Dimensions) {
  EXPECT_EQ(Error(OneTensor({2, 2, 2, 2}, 0, 0, 64)), "accepted");
  EXPECT_HAS(Error(OneTensor({}, 0, 0, 64)), "tensor \"w\": it has 0 dimensions");
  EXPECT_HAS(Error(OneTensor({1, 1, 1, 1, 1}, 0, 0, 64)), "tensor \"w\": it has 5 dimensions");
  EXPECT_HAS(Error(Builder().Start(1, 0).Text("w").U32(~0u).Data(64)),
             "tensor \"w\": it has 4294967295 dimensions");
  EXPECT_HAS(Error(OneTensor({4, 0}, 0, 0, 64)), "tensor \"w\": dimension 1 is zero");
  EXPECT_HAS(Error(OneTensor({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0, 64)),
             "tensor \"w\": its dimensions multiply");
  EXPECT_HAS(Error(OneTensor({uint64_t{1} << 63}, 0, 0, 64)), "tensor \"w\": its dimensions multiply");
  EXPECT_HAS(Error(OneTensor({uint64_t{1} << 62}, 28, 0, 64)), "tensor \"w\": its size in bytes");
  EXPECT_HAS(Error(OneTensor({uint64_t{1} << 61}, 0, 0, 64)),
             "tensor \"w\" of 9223372036854775808 bytes goes past");
  EXPECT_HAS(Error(OneTensor({31}, 2, 0, 64)),
             "tensor \"w\": its innermost dimension 31 is not a multiple of 32");
  EXPECT_HAS(Error(OneTensor({128, 2}, 12, 0, 512)),
             "tensor \"w\": its innermost dimension 128 is not a multiple of 256");
}

TEST(Gguf, Types) {
  EXPECT_HAS(Error(OneTensor({256}, 10, 0, 512)), "tensor \"w\": Q2_K (ggml type 10) is not supported");
  EXPECT_HAS(Error(OneTensor({256}, 999, 0, 512)), "tensor \"w\": ggml type 999 is not supported");
  const std::pair<uint32_t, size_t> sizes[] = {{0, 1024}, {1, 512}, {30, 512}, {2, 144},  {3, 160}, {6, 176},
                                               {7, 192},  {8, 272}, {12, 144}, {13, 176}, {14, 210}};
  for (const auto& [type, size] : sizes) {
    EXPECT_EQ(Error(OneTensor({256}, type, 0, size)), "accepted");
    EXPECT_HAS(Error(OneTensor({256}, type, 0, size - 1)),
               fmt::format("tensor \"w\" of {} bytes goes past", size));
  }
}

TEST(Gguf, Offsets) {
  EXPECT_HAS(Error(OneTensor({8}, 0, 16, 64)),
             "tensor \"w\" has the offset 16, which is not a multiple of the alignment 32");
  EXPECT_HAS(Error(OneTensor({8}, 0, 64, 64)), "tensor \"w\" of 32 bytes goes past the end");
  EXPECT_HAS(Error(OneTensor({8}, 0, ~uint64_t{0} - 31, 64)), "tensor \"w\" of 32 bytes goes past the end");
  EXPECT_HAS(Error(OneTensor({uint64_t{1} << 60}, 0, uint64_t{3} << 62, 64)), "tensor \"w\"");
  const auto two = [](uint64_t first, uint64_t second) {
    return Error(Builder().Start(2, 0).Tensor("v", {16}, 0, first).Tensor("w", {16}, 0, second).Data(160));
  };
  EXPECT_EQ(two(0, 64), "accepted");
  EXPECT_EQ(two(96, 0), "accepted");
  EXPECT_HAS(two(0, 32), "tensors \"v\" and \"w\" overlap");
  EXPECT_HAS(two(64, 32), "tensors \"w\" and \"v\" overlap");
  EXPECT_HAS(two(32, 32), "overlap");
  EXPECT_HAS(Error(Builder().Start(2, 0).Tensor("w", {8}, 0, 0).Tensor("w", {8}, 0, 32).Data(64)),
             "tensor \"w\" appears twice");
  EXPECT_HAS(Error(Builder().Start(1, 0).Tensor("", {8}, 0, 0).Data(64)),
             "the name of tensor 1 of 1 must have 1 to");
}

// Written by the format's own package (tools/make_checkpoint_corpus.py).
TEST(Gguf, ReadsTheOfficialWriter) {
  std::ifstream file(FUSIONTREE_TESTDATA "/fuzz/gguf_fuzz/valid", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  const auto result = Parse(bytes);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ((*result).tensors.size(), 11u);  // one of each float type
  for (const TensorInfo& info : (*result).tensors) {
    EXPECT_EQ(info.name, fmt::format("t.{}", tensor::Info(info.type).name));
    EXPECT_EQ(info.shape, (std::vector<int64_t>{2, 256}));
  }
  EXPECT_EQ(*(*result).metadata.Get<std::string>("general.architecture"), "llama");
  EXPECT_EQ(*(*result).metadata.Get<std::vector<std::string>>("tokenizer.ggml.tokens"),
            (std::vector<std::string>{"<s>", "a", "\xc3\xa9"}));
}

}  // namespace
}  // namespace fusiontree::checkpoint
