#include "base/utf8.h"

#include <gtest/gtest.h>

namespace fusiontree::base {
namespace {

using std::string_literals::operator""s;

TEST(Utf8, EveryCodePointGoesThereAndBack) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, &text);
    ASSERT_EQ(FindInvalidUtf8(text), std::string::npos) << static_cast<uint32_t>(c);
    ASSERT_EQ(static_cast<size_t>(Utf8Length(text[0])), text.size());
    size_t offset = 0;
    ASSERT_EQ(NextUtf8(text, &offset), c);
    ASSERT_EQ(offset, text.size());
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(FindInvalidUtf8(text.substr(0, cut)), 0u);
      ASSERT_EQ(IncompleteUtf8Tail("a" + text.substr(0, cut)), cut);
    }
    ASSERT_EQ(IncompleteUtf8Tail(text), 0u);
  }
}

struct Case {
  std::string text;
  size_t offset;
  std::string replaced;
};

TEST(Utf8, IllFormedPartsAreFoundAndReplaced) {
  const std::string r(kReplacementCharacter);
  const Case cases[] = {
      {"\x80", 0, r},
      {"abc\xFFzzz", 3, "abc" + r + "zzz"},
      {"\xC0\x80", 0, r + r},                          // overlong NUL
      {"\xC1\xBF", 0, r + r},                          // overlong U+007F
      {"\xE0\x80\xAF", 0, r + r + r},                  // overlong /
      {"\xF0\x80\x80\xAF", 0, r + r + r + r},          // overlong /
      {"\xED\xA0\x80", 0, r + r + r},                  // a surrogate
      {"\xF4\x90\x80\x80", 0, r + r + r + r},          // above U+10FFFF
      {"\xF8\x88\x80\x80\x80", 0, r + r + r + r + r},  // five bytes
      {"12345678\xE2\x82", 8, "12345678" + r},         // cut short: one maximal part
      {"\xE2\x82\x41", 0, r + "A"},
      {"\xF0\x9F\x99\xE2\x82\xAC", 0, r + "\xE2\x82\xAC"},
      {"\0\xFE"s, 1, "\0"s + r},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(FindInvalidUtf8(c.text), c.offset) << c.text;
    EXPECT_EQ(ReplaceInvalidUtf8(c.text), c.replaced) << c.text;
    EXPECT_FALSE(CheckUtf8(c.text, "x").ok());
  }
  EXPECT_EQ(CheckUtf8("ab\xC0\xAF", "the prompt").message(),
            "the prompt is not valid UTF-8: byte 0xC0 at offset 2");
  EXPECT_TRUE(CheckUtf8("\0 and all"s, "x").ok());
}

TEST(Utf8, EveryOffsetOfABadByteIsExact) {
  for (size_t offset = 0; offset < 40; ++offset) {  // across the eight bytes looked at together
    std::string text(40, 'a');
    text[offset] = '\xC3';
    EXPECT_EQ(FindInvalidUtf8(text), offset);
  }
}

TEST(Utf8, ATailThatCannotBecomeACharacterIsNotWaitedFor) {
  EXPECT_EQ(IncompleteUtf8Tail("\xE0\x80"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("\xED\xA0"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("\x80\x80\x80\x80"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("\xF5"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail(""), 0u);
}

}  // namespace
}  // namespace fusiontree::base
