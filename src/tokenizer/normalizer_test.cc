#include "tokenizer/normalizer.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace fusiontree::tokenizer {
namespace {

TEST(NormalizeUnicode, ComposesAcrossWhatIsCopied) {
  EXPECT_EQ(NormalizeUnicode("abce\u0301", UnicodeForm::kNfc), "abc\u00e9");
  EXPECT_EQ(NormalizeUnicode("e\u0301", UnicodeForm::kNfc), "\u00e9");
  EXPECT_EQ(NormalizeUnicode("\u0301e", UnicodeForm::kNfc), "\u0301e");
  EXPECT_EQ(NormalizeUnicode("\u00e9 plain \u00e9", UnicodeForm::kNfd), "e\u0301 plain e\u0301");
  EXPECT_EQ(NormalizeUnicode("q\u0307\u0323", UnicodeForm::kNfc), "q\u0323\u0307");
  EXPECT_EQ(NormalizeUnicode("\u1100\u1161\u11a8", UnicodeForm::kNfc), "\uac01");
  EXPECT_EQ(NormalizeUnicode("\ufb03", UnicodeForm::kNfkc), "ffi");
  EXPECT_EQ(NormalizeUnicode("", UnicodeForm::kNfkd), "");
}

// A character that the reference's Unicode does not know is no mark and no part of a composition.
TEST(NormalizeUnicode, NewerCharactersAreInert) {
  EXPECT_EQ(NormalizeUnicode("a\u0302\u0898\u0323", UnicodeForm::kNfc), "\u00e2\u0898\u0323");
  EXPECT_EQ(NormalizeUnicode("\U00011938", UnicodeForm::kNfd), "\U00011938");
  EXPECT_EQ(NormalizeUnicode("\U00011935\U00011930", UnicodeForm::kNfc), "\U00011935\U00011930");
}

// Sorting marks by swapping neighbours would take an hour here.
TEST(NormalizeUnicode, ManyUnsortedMarksAreSortedInTime) {
  std::string text = "a";
  std::string low;
  std::string high;
  for (int i = 0; i < 300'000; ++i) {
    text += "\u0301\u0323";
    low += "\u0323";
    high += "\u0301";
  }
  EXPECT_TRUE(NormalizeUnicode(text, UnicodeForm::kNfd) == "a" + low + high);
  EXPECT_TRUE(NormalizeUnicode(text, UnicodeForm::kNfc) == "\u1ea1" + low.substr(2) + high);
}

TEST(Normalizer, PrependLeavesAnEmptyTextAlone) {
  Normalizer normalizer;
  normalizer.AddPrepend("_");
  std::string text;
  ASSERT_TRUE(normalizer.Apply(&text).ok());
  EXPECT_EQ(text, "");
  text = "a";
  ASSERT_TRUE(normalizer.Apply(&text).ok());
  EXPECT_EQ(text, "_a");
}

}  // namespace
}  // namespace fusiontree::tokenizer
