#include "base/json.h"

#include <gtest/gtest.h>

namespace fusiontree::base {
namespace {

TEST(Json, ParsesOneValue) {
  auto value = ParseJson(" {\"a\": [1, 2.5, null]} \n");
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->dump(), R"({"a":[1,2.5,null]})");
  EXPECT_TRUE(ParseJson("3").ok());
  EXPECT_TRUE(ParseJson(std::string(kMaxJsonDepth, '[') + std::string(kMaxJsonDepth, ']')).ok());
}

TEST(Json, NamesWhatIsWrong) {
  const auto error = [](std::string_view text) {
    auto value = ParseJson(text);
    EXPECT_FALSE(value.ok()) << text;
    return value.ok() ? "" : value.status().message();
  };
  EXPECT_EQ(error(""), "it is empty, where JSON was expected");
  EXPECT_EQ(error(std::string_view("{}\0{", 4)), "it is not valid JSON at byte 2: NUL");
  EXPECT_EQ(error("\xef\xbb\xbf{}"), "it is not valid JSON at byte 0: a byte order mark");
  EXPECT_EQ(error("{\"a\": \"\xff\"}"), "it is not UTF-8 at byte 7");
  EXPECT_EQ(error(R"({"a": {"b": 1, "b": 2}})"), "it has the key \"b\" twice in one object");
  EXPECT_EQ(error(std::string(100000, '[')), "it is nested deeper than 64 levels");
  EXPECT_NE(error("{} {}").find("it is not valid JSON at byte 4"), std::string::npos);
  EXPECT_NE(error("{\"a\": }").find("it is not valid JSON at byte 7"), std::string::npos);
}

}  // namespace
}  // namespace fusiontree::base
