#include "tokenizer/pattern.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/gguf_pre_tokenizers.h"
#include "tokenizer/unicode.h"

namespace fusiontree::tokenizer {
namespace {

std::vector<std::string> Parts(const std::string& pattern, const std::string& text) {
  const base::Result<Pattern> compiled = Pattern::Compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status().message();
  std::vector<std::string> parts;
  const base::Status status = compiled->ForEachPart(text, [&](const Pattern::Part& part) {
    parts.push_back((part.is_match ? "+" : "-") + text.substr(part.begin, part.end - part.begin));
    return base::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status.message();
  return parts;
}

using Strings = std::vector<std::string>;

TEST(Pattern, PartsAreMatchesAndGaps) {
  EXPECT_EQ(Parts("b+", "abbc"), (Strings{"-a", "+bb", "-c"}));
  EXPECT_EQ(Parts("x", "abc"), (Strings{"-abc"}));
  EXPECT_EQ(Parts("x", ""), Strings{});
  EXPECT_EQ(Parts("b*", "abb"), (Strings{"+", "-a", "+bb"}));  // no empty match right behind a match
  EXPECT_EQ(Parts(R"(\s+(?!\S)|\s+)", "a  b"), (Strings{"-a", "+ ", "+ ", "-b"}));
}

// All of Unicode: the classes of the patterns are those of the tables, which are Hugging Face's.
TEST(Pattern, ClassesAreThoseOfTheTables) {
  const std::pair<const char*, uint8_t> classes[] = {
      {R"(\p{L})", kLetter}, {R"([\p{N}])", kNumber}, {R"(\s)", kSpace}, {R"([^\S])", kSpace}};
  for (const auto& [source, bit] : classes) {
    const base::Result<Pattern> pattern = Pattern::Compile(source);
    ASSERT_TRUE(pattern.ok()) << pattern.status().message();
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
      if (c >= 0xD800 && c <= 0xDFFF) continue;
      std::string text;
      base::AppendUtf8(c, &text);
      bool matches = false;
      ASSERT_TRUE(pattern
                      ->ForEachPart(text,
                                    [&](const Pattern::Part& part) {
                                      matches = part.is_match;
                                      return base::OkStatus();
                                    })
                      .ok());
      ASSERT_EQ(matches, (CharacterClass(c) & bit) != 0)
          << source << " U+" << std::hex << static_cast<uint32_t>(c);
    }
  }
}

TEST(Pattern, RubysDialectIsTranslated) {
  EXPECT_EQ(Parts(R"(\h+)", "xBEEFy"), (Strings{"-x", "+BEEF", "-y"}));
  EXPECT_EQ(Parts(R"([\v])", "a\vb\n"), (Strings{"-a", "+\v", "-b\n"}));
  EXPECT_EQ(Parts(R"(\u00e9)", "a\u00e9"), (Strings{"-a", "+\u00e9"}));
  EXPECT_EQ(Parts(R"(^b$)", "a\nb\nc"), (Strings{"-a\n", "+b", "-\nc"}));
  EXPECT_EQ(Parts(R"(.+)", "a\r\nb"), (Strings{"+a\r", "-\n", "+b"}));
  EXPECT_EQ(Parts(R"((?i:'s)+)", "'s'S'\u017f"), (Strings{"+'s'S'\u017f"}));
}

TEST(Pattern, LiteralTextHasNoSpecialCharacters) {
  const std::string text = R"(\E.*[a-z]{2}(?:x)|^$ \Q#&~+?)";
  const base::Result<Pattern> pattern = Pattern::Literal(text);
  ASSERT_TRUE(pattern.ok()) << pattern.status().message();
  int parts = 0;
  ASSERT_TRUE(pattern
                  ->ForEachPart(text + text,
                                [&](const Pattern::Part& part) {
                                  EXPECT_TRUE(part.is_match);
                                  ++parts;
                                  return base::OkStatus();
                                })
                  .ok());
  EXPECT_EQ(parts, 2);
}

TEST(Pattern, WhatWouldMeanSomethingElseIsRefused) {
  for (const char* source :
       {R"(\bword\b)", R"(\Gx)",       R"(x\Ky)",        R"(\p{L}{1,3}+)",  R"(x{3}?)",        R"(x{,3})",
        R"([a[b]])",   R"([a&&b])",    R"([[:alpha:]])", R"((?m)x)",        R"((?<n>x)\k<n>)", R"((*FAIL))",
        R"((?R))",     R"([^\W])",     R"(\xC3\xA9)",    R"(\p{L)",         R"(\pL)",          R"([abc)",
        R"((abc)",     R"(*)",         R"(\)",           R"(\p{Nonsense})", R"([])",           R"(\Q.\E)",
        R"(\1)",       R"(\x{110000})"}) {
    const base::Result<Pattern> pattern = Pattern::Compile(source);
    EXPECT_FALSE(pattern.ok()) << source;
    if (!pattern.ok()) {
      EXPECT_NE(pattern.status().message().find("pattern"), std::string::npos);
    }
  }
  EXPECT_FALSE(Pattern::Compile(std::string(20000, 'a')).ok());
  EXPECT_FALSE(Pattern::Compile(std::string(1000, '(')).ok());
  EXPECT_FALSE(Pattern::Compile("(((((a{1000}){1000}){1000}){1000}){1000})").ok());
}

TEST(Pattern, CatastrophicBacktrackingIsAnError) {
  const base::Result<Pattern> pattern = Pattern::Compile("(a+)+$x|(a|a)*b");
  ASSERT_TRUE(pattern.ok()) << pattern.status().message();
  const base::Status status =
      pattern->ForEachPart(std::string(64, 'a') + "c", [](const Pattern::Part&) { return base::OkStatus(); });
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("gave up"), std::string::npos) << status.message();
}

TEST(Pattern, LongRunsOfOneKindAreOneMatch) {
  for (const std::string_view source : {kGpt2Pattern, kQwen2Pattern, kLlama3Pattern}) {
    const base::Result<Pattern> pattern = Pattern::Compile(source);
    ASSERT_TRUE(pattern.ok()) << pattern.status().message();
    for (const std::string_view unit : {"a", " ", "!", "\n", "\u0301", "\u00e9", "\u3000"}) {
      std::string text;
      while (text.size() < 3'000'000) text += unit;
      text += "x\n";
      size_t parts = 0;
      const base::Status status = pattern->ForEachPart(text, [&](const Pattern::Part&) {
        ++parts;
        return base::OkStatus();
      });
      EXPECT_TRUE(status.ok()) << status.message();
      EXPECT_LE(parts, 5u) << source << " on " << unit;
    }
  }
}

}  // namespace
}  // namespace fusiontree::tokenizer
