#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

namespace fusiontree::checkpoint {
namespace {

std::string HeaderError(const std::string& header, uint64_t data_size) {
  const auto result = ParseSafetensorsHeader(header, 0, data_size);
  if (result.ok()) return "accepted";
  EXPECT_EQ(result.status().kind(), base::ErrorKind::kBadInput);
  return result.status().message();
}

std::string SizeError(uint64_t length, uint64_t file_size) {
  uint8_t start[8];
  std::memcpy(start, &length, sizeof start);
  const auto result =
      SafetensorsHeaderSize(std::span(start).first(std::min<uint64_t>(8, file_size)), file_size);
  return result.ok() ? "accepted" : result.status().message();
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(SafetensorsHeader, ReadsTensorsInOrderOfOffset) {
  const auto result = ParseSafetensorsHeader(
      R"({"b":{"dtype":"I64","shape":[],"data_offsets":[12,20]},"__metadata__":{"format":"pt"},
          "a":{"shape":[2,3],"data_offsets":[0,12],"dtype":"BF16"},
          "none":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[12,12]}}   )",
      100, 20);
  ASSERT_TRUE(result.ok()) << result.status().message();
  const std::vector<TensorInfo>& tensors = *result;
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].type, tensor::DType::kBF16);
  EXPECT_EQ(tensors[0].ShapeString(), "[2, 3]");
  EXPECT_EQ(tensors[0].elements(), 6);
  EXPECT_EQ(tensors[0].offset, 100u);
  EXPECT_EQ(tensors[0].bytes, 12u);
  EXPECT_EQ(tensors[1].name, "none");
  EXPECT_EQ(tensors[1].elements(), 0);
  EXPECT_EQ(tensors[2].name, "b");
  EXPECT_EQ(tensors[2].elements(), 1);
  EXPECT_EQ(tensors[2].ShapeString(), "[]");
  EXPECT_EQ(tensors[2].offset, 112u);
  EXPECT_TRUE(ParseSafetensorsHeader("{}", 10, 0).ok());
}

TEST(SafetensorsHeader, LengthsOutOfRange) {
  EXPECT_EQ(SizeError(2, 10), "accepted");
  for (uint64_t size = 0; size < 8; ++size) EXPECT_HAS(SizeError(2, size), "too few");
  EXPECT_HAS(SizeError(0, 100), "header length is 0");
  EXPECT_HAS(SizeError(1, 100), "header length is 1");
  EXPECT_HAS(SizeError(93, 100), "header length is 93, but the file has only 100 bytes");
  EXPECT_HAS(SizeError(100'000'001, uint64_t{1} << 40), "above the limit of 100000000");
  EXPECT_HAS(SizeError(~uint64_t{0}, 100), "header length is 18446744073709551615, above the limit");
}

TEST(SafetensorsHeader, NotTheJsonItShouldBe) {
  EXPECT_HAS(HeaderError("", 0), "safetensors header: it is empty");
  EXPECT_HAS(HeaderError("[]", 0), "not a JSON object");
  EXPECT_HAS(HeaderError("17", 0), "not a JSON object");
  EXPECT_HAS(HeaderError("\xef\xbb\xbf{}", 0), "byte order mark");
  EXPECT_HAS(HeaderError("{\"a\":\"\xff\"}", 0), "not UTF-8 at byte 6");
  EXPECT_HAS(HeaderError("{\"a\":", 0), "not valid JSON at byte");
  EXPECT_HAS(HeaderError("{} {}", 0), "not valid JSON at byte");
  EXPECT_HAS(HeaderError(std::string("{}\0", 3), 0), "not valid JSON at byte");
  EXPECT_HAS(HeaderError(R"({"a":{"shape":[1e999]}})", 0), "not valid JSON at byte");
}

TEST(SafetensorsHeader, DuplicateKeys) {
  const std::string tensor = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_HAS(HeaderError("{\"x\":" + tensor + ",\"x\":" + tensor + "}", 1), "the key \"x\" appears twice");
  EXPECT_HAS(HeaderError("{\"x\":" + tensor + ",\"\\u0078\":" + tensor + "}", 1),
             "the key \"x\" appears twice");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"U8","dtype":"U8"}})", 1),
             "\"dtype\" of tensor \"x\" appears twice");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":[],"shape":[]}})", 1), "\"shape\" of tensor \"x\" appears twice");
  EXPECT_HAS(HeaderError(R"({"x":{"data_offsets":[0,1],"data_offsets":[0,1]}})", 1),
             "\"data_offsets\" of tensor \"x\" appears twice");
  EXPECT_HAS(HeaderError(R"({"__metadata__":{"a":"","a":""}})", 0),
             "\"a\" appears twice in \"__metadata__\"");
  EXPECT_HAS(HeaderError(R"({"__metadata__":{},"__metadata__":{}})", 0), "\"__metadata__\" appears twice");
}

TEST(SafetensorsHeader, Nesting) {
  for (const std::string& open : {std::string("["), std::string("{\"a\":")}) {
    std::string deep;
    for (int i = 0; i < 100'000; ++i) deep += open;
    EXPECT_HAS(HeaderError("{\"x\":" + deep, 0), "\"x\"");
    EXPECT_HAS(HeaderError("{\"x\":{\"shape\":[" + deep, 0),
               "\"shape\" of tensor \"x\" must hold numbers only");
    EXPECT_HAS(HeaderError("{\"__metadata__\":{\"k\":" + deep, 0), "\"k\" is nested");
    const auto index = ParseSafetensorsIndex("{\"metadata\":" + deep);
    EXPECT_HAS(index.status().message(), "nested deeper than 64");
  }
}

TEST(SafetensorsHeader, FieldsMissingUnknownOrOfTheWrongType) {
  EXPECT_HAS(HeaderError(R"({"x":3})", 0), "\"x\" must be an object, but is a number");
  EXPECT_HAS(HeaderError(R"({"x":[]})", 0), "\"x\" must be an object, but is a list");
  EXPECT_HAS(HeaderError(R"({"x":null})", 0), "\"x\" must be an object, but is null");
  EXPECT_HAS(HeaderError(R"({"__metadata__":"s"})", 0),
             "\"__metadata__\" must be an object, but is a string");
  EXPECT_HAS(HeaderError(R"({"__metadata__":{"k":1}})", 0), "\"k\" in \"__metadata__\" must be a string");
  EXPECT_HAS(HeaderError(R"({"x":{}})", 0), "tensor \"x\" has no \"dtype\"");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"U8","data_offsets":[0,0]}})", 0), "tensor \"x\" has no \"shape\"");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"U8","shape":[0]}})", 0), "tensor \"x\" has no \"data_offsets\"");
  EXPECT_HAS(HeaderError(R"({"x":{"strides":[1]}})", 0), "tensor \"x\" has the unknown key \"strides\"");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":7}})", 0),
             "\"dtype\" of tensor \"x\" must be a string, but is a number");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":["U8"]}})", 0),
             "\"dtype\" of tensor \"x\" must be a string, but is a list");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":3}})", 0),
             "\"shape\" of tensor \"x\" must be a list, but is a number");
  EXPECT_HAS(HeaderError(R"({"x":{"data_offsets":{}}})", 0),
             "\"data_offsets\" of tensor \"x\" must be a list");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"F8_E4M3"}})", 0), "tensor \"x\" has the type \"F8_E4M3\"");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"Q4_0"}})", 0), "tensor \"x\" has the type \"Q4_0\"");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":[-1]}})", 0), "\"shape\" of tensor \"x\"");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":[1.5]}})", 0), "\"shape\" of tensor \"x\"");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":["1"]}})", 0), "\"shape\" of tensor \"x\"");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":[9223372036854775808]}})", 0), "one beyond 63 bits");
  EXPECT_HAS(HeaderError(R"({"x":{"shape":[1,1,1,1,1,1,1,1,1]}})", 0),
             "tensor \"x\" has more than 8 dimensions");
}

std::string OffsetsError(const std::string& offsets, uint64_t data_size = 4) {
  return HeaderError(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":)" + offsets + "}}", data_size);
}

TEST(SafetensorsHeader, Offsets) {
  EXPECT_EQ(OffsetsError("[0,4]"), "accepted");
  EXPECT_HAS(OffsetsError("[]"), "\"data_offsets\" of tensor \"x\" must be two numbers, but are none");
  EXPECT_HAS(OffsetsError("[0]"), "\"data_offsets\" of tensor \"x\" must be two numbers, but are one");
  EXPECT_HAS(OffsetsError("[0,4,4]"), "\"data_offsets\" of tensor \"x\" must be two numbers, but are more");
  EXPECT_HAS(OffsetsError("[-4,0]"), "\"x\" must be whole numbers from 0, but hold a negative number");
  EXPECT_HAS(OffsetsError("[0,4.0]"), "\"x\" must be whole numbers from 0, but hold a fraction");
  EXPECT_HAS(OffsetsError("[0,18446744073709551616]"), "\"x\" must be whole numbers from 0");
  EXPECT_HAS(OffsetsError("[0,\"4\"]"), "\"x\" must be whole numbers from 0, but hold a string");
  EXPECT_HAS(OffsetsError("[4,0]"), "tensor \"x\" has reversed offsets");
  EXPECT_HAS(OffsetsError("[0,4]", 3), "tensor \"x\" ends at byte 4 of the data, but the file has only 3");
  EXPECT_HAS(OffsetsError("[0,18446744073709551615]"), "tensor \"x\" ends at byte 18446744073709551615");
  EXPECT_HAS(OffsetsError("[1,5]", 5),
             "tensor \"x\" begins at byte 1 of the data, but the one before ends at 0 (a hole)");
  EXPECT_HAS(OffsetsError("[0,4]", 5), "the tensors cover 4 bytes of data, but the file has 5");
  EXPECT_HAS(OffsetsError("[0,3]", 3),
             "tensor \"x\" of type U8 and shape [4] needs 4 bytes, but its offsets span 3");
}

TEST(SafetensorsHeader, OverlapsHolesAndOverflow) {
  const auto two = [](const char* offsets, uint64_t size) {
    return HeaderError(std::string(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)") +
                           R"("y":{"dtype":"U8","shape":[4],"data_offsets":)" + offsets + "}}",
                       size);
  };
  EXPECT_EQ(two("[4,8]", 8), "accepted");
  EXPECT_HAS(two("[2,6]", 6),
             "tensor \"y\" begins at byte 2 of the data, but the one before ends at 4 (an overlap)");
  EXPECT_HAS(two("[0,4]", 4), "tensor \"y\" begins at byte 0");
  EXPECT_HAS(two("[5,9]", 9), "(a hole)");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
             "shape [4294967296, 4294967296] of tensor \"x\" is too large");
  EXPECT_HAS(HeaderError(R"({"x":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
             "too large");
}

TEST(SafetensorsIndex, ReadsTheMapAndIgnoresTheRest) {
  const auto result = ParseSafetensorsIndex(
      R"({"metadata":{"total_size":12,"deep":[{"a":[1.5,null,true]}]},"weight_map":{"a":"1.safetensors","b":"2.safetensors"},"x":1})");
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(*result, (std::map<std::string, std::string>{{"a", "1.safetensors"}, {"b", "2.safetensors"}}));
}

std::string IndexError(const std::string& text) {
  const auto result = ParseSafetensorsIndex(text);
  return result.ok() ? "accepted" : result.status().message();
}

TEST(SafetensorsIndex, BadInput) {
  EXPECT_HAS(IndexError("{}"), "no \"weight_map\"");
  EXPECT_HAS(IndexError(R"({"weight_map":{}})"), "\"weight_map\" is empty");
  EXPECT_HAS(IndexError(R"({"weight_map":[]})"), "\"weight_map\" must be an object, but is a list");
  EXPECT_HAS(IndexError(R"({"weight_map":null})"), "\"weight_map\" must be an object, but is null");
  EXPECT_HAS(IndexError(R"({"weight_map":{"a":"s"},"weight_map":{"a":"s"}})"),
             "\"weight_map\" appears twice");
  EXPECT_HAS(IndexError(R"({"weight_map":{"a":"s","a":"t"}})"), "tensor \"a\" appears twice");
  EXPECT_HAS(IndexError(R"({"weight_map":{"a":1}})"),
             "the shard of tensor \"a\" must be a file name, but is a number");
  EXPECT_HAS(IndexError(R"({"weight_map":{"a":["s"]}})"),
             "the shard of tensor \"a\" must be a file name, but is a list");
  EXPECT_HAS(IndexError(R"({"weight_map":{"a":{"b":"s"}}})"), "the shard of tensor \"a\"");
  EXPECT_HAS(IndexError("{\"weight_map\":{\"\xff\":\"s\"}}"), "not UTF-8 at byte 16");
  for (const char* shard : {"/etc/passwd", "../s", "a/../../s", "sub/s", "..", ".", "", "s\\u0000"}) {
    EXPECT_HAS(IndexError(fmt::format(R"({{"weight_map":{{"a":"{}"}}}})", shard)),
               "of tensor \"a\" must be the name of a file in the same folder");
  }
}

}  // namespace
}  // namespace fusiontree::checkpoint
