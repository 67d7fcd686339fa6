#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "kernels/table.h"

namespace fusiontree::engine {
namespace {

std::map<int32_t, int> Draw(const Sampling& sampling, const std::vector<float>& logits, int draws,
                            const std::vector<int32_t>& history = {}) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> row = logits;
    ++counts[SampleToken(*kernels::RefTable(), sampling, 0, i, history, row.data(),
                         static_cast<int64_t>(row.size()))];
  }
  return counts;
}

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f};

TEST(Sampler, ZeroTemperatureTakesTheLargestWithTheLowestId) {
  Sampling s;
  s.temperature = 0.0;
  EXPECT_EQ(Draw(s, kLogits, 3), (std::map<int32_t, int>{{1, 3}}));
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  Sampling s;
  s.temperature = 2.0;
  s.seed = 5;
  const int draws = 20000;
  const auto counts = Draw(s, kLogits, draws);
  double total = 0;
  for (float x : kLogits) total += std::exp(x / 2.0);
  for (size_t i = 0; i < kLogits.size(); ++i) {
    const double p = std::exp(kLogits[i] / 2.0) / total;
    EXPECT_NEAR(counts.at(static_cast<int32_t>(i)) / static_cast<double>(draws), p, 4 * std::sqrt(p / draws))
        << i;
  }
}

TEST(Sampler, TopKKeepsTies) {
  Sampling s;
  s.top_k = 1;  // ids 1 and 3 share the largest logit
  const auto counts = Draw(s, kLogits, 200);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.count(1) && counts.count(3));
}

TEST(Sampler, TopPKeepsTheShortestHead) {
  Sampling s;
  s.top_p = 0.5;  // p(1) = p(3) = 0.40: the first alone does not reach a half
  auto counts = Draw(s, kLogits, 300);
  EXPECT_EQ(counts.size(), 2u);
  s.top_p = 0.3;
  counts = Draw(s, kLogits, 300);
  EXPECT_EQ(counts, (std::map<int32_t, int>{{1, 300}}));
}

TEST(Sampler, TopPReachesFarIntoALongTail) {
  std::vector<float> flat(5000, 0.0f);
  Sampling s;
  s.top_p = 0.9;
  for (const auto& [id, n] : Draw(s, flat, 300)) EXPECT_LT(id, 4501);
  EXPECT_GT(Draw(s, flat, 300).rbegin()->first, 2000);
}

TEST(Sampler, MinPDropsTheUnlikely) {
  Sampling s;
  s.min_p = 0.5;  // relative to the largest: only exp(0) survives beside its tie; exp(-1) = 0.37 does not
  EXPECT_EQ(Draw(s, kLogits, 200).size(), 2u);
}

TEST(Sampler, RepetitionPenaltyActsOnHistoryOnce) {
  Sampling s;
  s.temperature = 0.0;
  s.repetition_penalty = 1.6;
  EXPECT_EQ(Draw(s, kLogits, 1, {1, 1, 1}), (std::map<int32_t, int>{{3, 1}}));
  EXPECT_EQ(Draw(s, kLogits, 1, {1, 3}), (std::map<int32_t, int>{{2, 1}}));
  // A negative logit is multiplied, so that it falls too.
  EXPECT_EQ(Draw(s, {-1.0f, -1.5f}, 1, {0}), (std::map<int32_t, int>{{1, 1}}));
}

TEST(Sampler, DrawsAreKeyedBySeedChoiceAndPosition) {
  std::vector<float> flat(1000, 0.0f);
  Sampling s;
  auto token = [&](uint64_t seed, uint64_t choice, int64_t position) {
    s.seed = seed;
    std::vector<float> row = flat;
    return SampleToken(*kernels::RefTable(), s, choice, position, {}, row.data(), 1000);
  };
  EXPECT_EQ(token(1, 0, 7), token(1, 0, 7));
  EXPECT_NE(token(1, 0, 7), token(2, 0, 7));
  EXPECT_NE(token(1, 0, 7), token(1, 1, 7));
  EXPECT_NE(token(1, 0, 7), token(1, 0, 8));
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  auto message = [](auto change) {
    Sampling s;
    change(s);
    return CheckSampling(s).message();
  };
  EXPECT_NE(message([](Sampling& s) { s.temperature = -1; }).find("temperature"), std::string::npos);
  EXPECT_NE(message([](Sampling& s) {
              s.temperature = std::numeric_limits<double>::quiet_NaN();
            }).find("temperature"),
            std::string::npos);
  EXPECT_NE(message([](Sampling& s) { s.top_k = -1; }).find("top_k"), std::string::npos);
  EXPECT_NE(message([](Sampling& s) { s.top_p = 0; }).find("top_p"), std::string::npos);
  EXPECT_NE(message([](Sampling& s) { s.min_p = 2; }).find("min_p"), std::string::npos);
  EXPECT_NE(message([](Sampling& s) { s.repetition_penalty = 0; }).find("repetition_penalty"),
            std::string::npos);
}

}  // namespace
}  // namespace fusiontree::engine
