#include "base/bytes.h"

#include <gtest/gtest.h>

#include <vector>

namespace fusiontree::base {
namespace {

TEST(ByteReader, ReadsLittleEndianInOrder) {
  const std::vector<uint8_t> bytes = {0x01, 0x34, 0x12, 0x00, 0x00, 0x80, 0x3f, 'a', 'b'};
  ByteReader reader(bytes);
  uint8_t a;
  uint16_t b;
  float c;
  std::string_view text;
  ASSERT_TRUE(reader.Read(&a, "a").ok());
  ASSERT_TRUE(reader.Read(&b, "b").ok());
  ASSERT_TRUE(reader.Read(&c, "c").ok());
  ASSERT_TRUE(reader.ReadBytes(2, "text", &text).ok());
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 0x1234);
  EXPECT_EQ(c, 1.0f);
  EXPECT_EQ(text, "ab");
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_FALSE(reader.ran_out());
}

TEST(ByteReader, EndIsAnErrorThatNamesWhatAndWhere) {
  const std::vector<uint8_t> bytes = {1, 2, 3};
  ByteReader reader(bytes);
  uint16_t head;
  ASSERT_TRUE(reader.Read(&head, "head").ok());
  uint32_t value = 7;
  EXPECT_EQ(reader.Read(&value, "the count").message(),
            "the count at byte 2 needs 4 bytes, but only 1 are left");
  EXPECT_EQ(value, 7u);
  EXPECT_TRUE(reader.ran_out());
  EXPECT_EQ(reader.position(), 2u);
  std::string_view text;
  EXPECT_FALSE(reader.ReadBytes(~uint64_t{0}, "text", &text).ok());
  EXPECT_TRUE(reader.ReadBytes(1, "text", &text).ok());
}

TEST(Utf8, FindsTheFirstBadByte) {
  EXPECT_EQ(ValidUtf8Prefix(""), 0u);
  EXPECT_EQ(ValidUtf8Prefix("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), 10u);
  for (const std::string bad :
       {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff", "\xe2\x82"}) {
    EXPECT_EQ(ValidUtf8Prefix("xy" + bad), 2u) << Quote(bad);
  }
}

TEST(Quote, EscapesAndShortens) {
  EXPECT_EQ(Quote("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
  EXPECT_EQ(Quote("a\n\"\xff"), "\"a\\x0a\\x22\\xff\"");
  const std::string shortened = Quote(std::string(1 << 20, 'x'));
  EXPECT_LT(shortened.size(), 140u);
  EXPECT_TRUE(shortened.ends_with("...\""));
}

}  // namespace
}  // namespace fusiontree::base
