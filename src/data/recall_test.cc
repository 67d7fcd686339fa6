#include "data/recall.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/hash.h"

namespace fusiontree::data {
namespace {

RecallTask Recall(const RecallOptions& options, uint64_t seed) {
  auto task = RecallTask::Make(options, seed);
  EXPECT_TRUE(task.ok()) << task.status().message();
  return std::move(task).value();
}

TEST(Recall, EveryQueryIsAnsweredByItsPairAndNothingElseCounts) {
  for (const bool noise : {false, true}) {
    for (const auto& [vocab, pairs, length] :
         std::vector<std::array<int, 3>>{{256, 16, 128}, {64, 31, 124}, {4, 1, 4}, {8192, 64, 1024}}) {
      const RecallTask task =
          Recall({.vocab_size = vocab, .pairs = pairs, .length = length, .noise = noise}, 5);
      for (int64_t r = 0; r < 40; ++r) {
        const Row row = task.Generate(r);
        ASSERT_EQ(row.ids.size(), static_cast<size_t>(length));
        ASSERT_EQ(row.pieces.size(), 1u);
        std::map<int32_t, int32_t> value_of;
        std::set<int32_t> values;
        for (int p = 0; p < pairs; ++p) {
          const int32_t key = row.ids[2 * p], value = row.ids[2 * p + 1];
          EXPECT_TRUE(key >= 1 && key < vocab / 2 && value >= vocab / 2 && value < vocab);
          EXPECT_TRUE(value_of.emplace(key, value).second);
          values.insert(value);
        }
        EXPECT_EQ(values.size(), static_cast<size_t>(pairs));
        std::set<int32_t> asked;
        for (int32_t i = 0; i < length; ++i) {
          if (!noise && i >= 2 * pairs && row.targets[i] == kNoTarget) {
            EXPECT_EQ(row.ids[i], 0);
          }
          if (row.targets[i] == kNoTarget) continue;
          EXPECT_TRUE(i >= 2 * pairs && i % 2 == 0);
          EXPECT_EQ(row.targets[i], value_of.at(row.ids[i]));
          asked.insert(row.ids[i]);
        }
        EXPECT_EQ(asked.size(), static_cast<size_t>(pairs));
        EXPECT_EQ(row.CountTargets(), pairs);
      }
    }
  }
}

TEST(Recall, ARowIsDecidedBySeedAndNumber) {
  const RecallTask task = Recall({}, 1), again = Recall({}, 1), other = Recall({}, 2);
  EXPECT_EQ(task.Generate(7).ids, again.Generate(7).ids);
  EXPECT_NE(task.Generate(7).ids, task.Generate(8).ids);
  EXPECT_NE(task.Generate(7).ids, other.Generate(7).ids);
}

TEST(Recall, RowsAreThoseTheyAlwaysWere) {
  const Row row = Recall({}, 1).Generate(7);
  EXPECT_EQ(
      base::Hash(row.ids.data(), 4 * row.ids.size(), base::Hash(row.targets.data(), 4 * row.targets.size())),
      2093002861749350183u);
  const auto needle = NeedleTask::Make({}, 1);
  const Row hay = needle->Generate(7);
  EXPECT_EQ(base::Hash(hay.ids.data(), 4 * hay.ids.size()), 14274204216184559656u);
}

// Of one pair the query's place is one draw by weight.
TEST(Recall, GapsFollowThePowerLaw) {
  const RecallOptions options{.vocab_size = 64, .pairs = 1, .length = 34};  // 16 places
  const RecallTask task = Recall(options, 3);
  std::vector<int> seen(16);
  std::map<int32_t, int> keys;
  const int rows = 20000;
  for (int r = 0; r < rows; ++r) {
    const Row row = task.Generate(r);
    for (int i = 0; i < 16; ++i) seen[i] += row.targets[2 + 2 * i] != kNoTarget;
    ++keys[row.ids[0]];
  }
  double sum = 0;
  for (int i = 1; i <= 16; ++i) sum += std::pow(i, options.power - 1);
  for (int i = 1; i <= 16; ++i) {
    const double p = std::pow(i, options.power - 1) / sum;
    EXPECT_NEAR(seen[i - 1], rows * p, 5 * std::sqrt(rows * p)) << i;
  }
  EXPECT_EQ(keys.size(), 31u);
  for (const auto& [key, count] : keys) EXPECT_NEAR(count, rows / 31.0, 5 * std::sqrt(rows / 31.0)) << key;
}

TEST(Needle, TheOnlyTargetIsTheValueBehindTheKey) {
  for (const double depth : {-1.0, 0.0, 0.5, 1.0}) {
    auto task = NeedleTask::Make({.vocab_size = 32, .length = 50, .depth = depth}, 4);
    ASSERT_TRUE(task.ok());
    std::set<int> places;
    for (int r = 0; r < 300; ++r) {
      const Row row = task->Generate(r);
      EXPECT_EQ(row.CountTargets(), 1);
      const int32_t key = row.ids.back();
      EXPECT_TRUE(key >= 1 && key < 16);
      const auto place = std::find(row.ids.begin(), row.ids.end(), key) - row.ids.begin();
      ASSERT_LT(place, 48);
      EXPECT_EQ(row.targets.back(), row.ids[place + 1]);
      EXPECT_EQ(std::count(row.ids.begin(), row.ids.end(), key), 2);
      places.insert(static_cast<int>(place));
    }
    if (depth < 0) {
      EXPECT_EQ(places.size(), 48u);
    } else {
      EXPECT_EQ(places, std::set<int>{static_cast<int>(depth * 47 + 0.5)});
    }
  }
}

TEST(Recall, BadOptionsAreNamed) {
  const auto message = [](const RecallOptions& options) {
    return RecallTask::Make(options, 0).status().message();
  };
  EXPECT_NE(message({.vocab_size = 3}).find("from 4"), std::string::npos);
  EXPECT_NE(message({.vocab_size = 32, .pairs = 16}).find("1 to 15 pairs, not 16"), std::string::npos);
  EXPECT_NE(message({.pairs = 16, .length = 62}).find("at least 4 times the 16 pairs, not 62"),
            std::string::npos);
  EXPECT_NE(message({.pairs = 1, .length = 33}).find("even"), std::string::npos);
  EXPECT_NE(message({.power = 0}).find("power"), std::string::npos);
  EXPECT_FALSE(NeedleTask::Make({.length = 2}, 0).ok());
  EXPECT_FALSE(NeedleTask::Make({.depth = 1.5}, 0).ok());
}

}  // namespace
}  // namespace fusiontree::data
