#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

namespace fusiontree::engine {
namespace {

struct Cut {
  std::string text;
  bool found;
};

Cut CutOff(const std::vector<std::string>& stops, const std::string& text,
           const std::vector<size_t>& pieces) {
  StopStrings filter(stops);
  std::string out;
  size_t at = 0;
  for (size_t i = 0; at < text.size(); ++i) {
    const size_t n = pieces[i % pieces.size()];
    out += filter.Push(std::string_view(text).substr(at, n));
    at += n;
  }
  out += filter.Finish();
  return {out, filter.found()};
}

TEST(StopStrings, CutsBeforeTheStringHoweverThePiecesLie) {
  for (const std::vector<size_t>& pieces : {std::vector<size_t>{1}, {2}, {3, 1}, {100}}) {
    EXPECT_EQ(CutOff({"\n\n"}, "one\ntwo\n\nthree", pieces).text, "one\ntwo");
    EXPECT_EQ(CutOff({"END"}, "EEND", pieces).text, "E");
    EXPECT_EQ(CutOff({"aab"}, "aaab", pieces).text, "a");
    EXPECT_EQ(CutOff({"xyz"}, "no such thing xy", pieces).text, "no such thing xy");
    EXPECT_FALSE(CutOff({"xyz"}, "no such thing xy", pieces).found);
    EXPECT_EQ(CutOff({"bc", "abcd"}, "xabcd", pieces).text, "xa") << "the first to be complete wins";
    EXPECT_EQ(CutOff({"bc", "abc"}, "xabc", pieces).text, "x") << "the longer of two that end together";
    EXPECT_EQ(CutOff({}, "all of it", pieces).text, "all of it");
  }
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStrings filter({"</s>", "User:"});
  EXPECT_EQ(filter.Push("hello <"), "hello ");
  EXPECT_EQ(filter.Push("/"), "");
  EXPECT_EQ(filter.Push("b>"), "</b>");
  EXPECT_EQ(filter.Push("Us"), "");
  EXPECT_EQ(filter.Push("U"), "Us");
  EXPECT_EQ(filter.Push("ser: x"), "");
  EXPECT_TRUE(filter.found());
  EXPECT_EQ(filter.Push("more"), "");
  EXPECT_EQ(filter.Finish(), "");
}

TEST(StopStrings, RandomTextsAgreeWithAPlainSearch) {
  std::mt19937 random(7);
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto word = [&](size_t length) {
      std::string s;
      for (size_t i = 0; i < length; ++i) s += static_cast<char>('a' + random() % 2);
      return s;
    };
    std::vector<std::string> stops;
    for (size_t i = 0; i < 1 + random() % 3; ++i) stops.push_back(word(1 + random() % 5));
    const std::string text = word(random() % 12);
    // The slow twin: the earliest end, then the earliest beginning.
    std::string expected = text;
    for (size_t end = 1, done = 0; end <= text.size() && !done; ++end) {
      size_t longest = 0;
      for (const auto& s : stops)
        if (end >= s.size() && text.substr(end - s.size(), s.size()) == s)
          longest = std::max(longest, s.size());
      if (longest) expected = text.substr(0, end - longest), done = 1, ++found;
    }
    EXPECT_EQ(CutOff(stops, text, {1 + random() % 4, 1 + random() % 3}).text, expected);
  }
  EXPECT_GT(found, 200);
}

TEST(StopStrings, RefusesWhatCannotWork) {
  EXPECT_FALSE(StopStrings::Check({"a", ""}).ok());
  EXPECT_FALSE(StopStrings::Check({std::string(5000, 'a')}).ok());
  EXPECT_TRUE(StopStrings::Check({"a", "b"}).ok());
}

}  // namespace
}  // namespace fusiontree::engine
