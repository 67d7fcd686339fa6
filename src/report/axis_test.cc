#include "report/axis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace fusiontree::report {
namespace {

std::string Labels(const std::vector<Tick>& ticks) {
  std::string text;
  for (const Tick& tick : ticks) text += (text.empty() ? "" : " ") + tick.label;
  return text;
}

TEST(LinearTicks, AreRoundAndReadTheSame) {
  EXPECT_EQ(Labels(LinearTicks(0, 2000, 6, true)), "0 500 1000 1500 2000");
  EXPECT_EQ(Labels(LinearTicks(0, 100000, 6, true)), "0 20k 40k 60k 80k 100k");
  EXPECT_EQ(Labels(LinearTicks(9000, 11000, 6, true)), "9.0k 9.5k 10.0k 10.5k 11.0k");
  EXPECT_EQ(Labels(LinearTicks(0, 2.1e6, 5, true)), "0 0.5M 1.0M 1.5M 2.0M");
  EXPECT_EQ(Labels(LinearTicks(-0.73, 0.29, 5, false)), "-0.6 -0.4 -0.2 0 0.2");
  EXPECT_EQ(Labels(LinearTicks(0, 6e-4, 4, false)), "0 0.0002 0.0004 0.0006");
  EXPECT_EQ(Labels(LinearTicks(1e-7, 5e-7, 5, false)), "1e-7 2e-7 3e-7 4e-7 5e-7");
  EXPECT_EQ(Labels(LinearTicks(1.4e20, 2.6e20, 4, false)), "1.5e20 2.0e20 2.5e20");
  EXPECT_EQ(Labels(LinearTicks(1, 3, 9, true)), "1 2 3");
  EXPECT_EQ(Labels(LinearTicks(1.2, 1.7, 9, true)), "");
}

TEST(LogTicks, ArePowersAndWhatIsBetweenWhereThereIsRoom) {
  EXPECT_EQ(Labels(LogTicks(0.001, 1000, 9)), "0.001 0.01 0.1 1 10 100 1000");
  EXPECT_EQ(Labels(LogTicks(0.3, 31, 9)), "0.5 1 2 5 10 20");
  EXPECT_EQ(Labels(LogTicks(1e-6, 1e-4, 9)), "1e-6 2e-6 5e-6 1e-5 2e-5 5e-5 1e-4");
  EXPECT_EQ(Labels(LogTicks(1e-12, 1e12, 5)), "1e-12 1e-7 0.01 1000 100M");
  EXPECT_EQ(Labels(LogTicks(2.2, 2.9, 5)), "2.2 2.4 2.6 2.8");
}

// Every range that a chart can ask for: ends, no more ticks than asked for, within the range, ascending,
// and no label twice.
TEST(Ticks, HoldForAnyRange) {
  int ticks_seen = 0;
  for (const bool log : {false, true})
    for (const double low : {-1e299, -7.25, -1e-20, 0.0, 1e-295, 3e-12, 0.999, 17.0, 123456.0, 9.99e299})
      for (const double size : {0.0, 1e-299, 1e-15, 0.0123, 1.0, 999.0, 1e15, 9e299})
        for (const double margin : {0.0, 0.05})
          for (const int count : {2, 5, 11}) {
            ValueRange range;
            range.Add(low, log);
            range.Add(low + size, log);
            range = Widened(range, log, margin);
            ASSERT_LT(range.low, range.high) << low << " " << size;
            const auto ticks = log ? LogTicks(range.low, range.high, count)
                                   : LinearTicks(range.low, range.high, count, false);
            ASSERT_LE(static_cast<int>(ticks.size()), count) << low << " " << size << " " << log;
            std::set<std::string> labels;
            const double slack = 1e-6 * (range.high - range.low);
            for (size_t i = 0; i < ticks.size(); ++i) {
              EXPECT_GE(ticks[i].value, range.low - slack);
              EXPECT_LE(ticks[i].value, range.high + slack);
              EXPECT_TRUE(i == 0 || ticks[i].value > ticks[i - 1].value);
              EXPECT_LT(ticks[i].label.size(), 20u) << ticks[i].label;
              EXPECT_TRUE(labels.insert(ticks[i].label).second)
                  << ticks[i].label << " twice from " << range.low << " to " << range.high;
              ++ticks_seen;
            }
          }
  EXPECT_GT(ticks_seen, 1000);
}

TEST(ValueRange, LeavesOutWhatCannotBeDrawn) {
  ValueRange range;
  for (const double value : {std::nan(""), 1e305, -std::numeric_limits<double>::infinity()})
    range.Add(value, false);
  EXPECT_TRUE(range.empty);
  range.Add(-2, true);
  range.Add(0, true);
  EXPECT_TRUE(range.empty);
  range.Add(3, true);
  range.Add(5, true);
  EXPECT_EQ(range.low, 3);
  EXPECT_EQ(range.high, 5);
  const ValueRange constant = Widened({4, 4, false}, false, 0.05);
  EXPECT_LT(constant.low, 4);
  EXPECT_GT(constant.high, 4);
}

TEST(Share, IsLinearOrLogarithmicAndClamped) {
  EXPECT_DOUBLE_EQ(Share(3, {1, 5, false}, false), 0.5);
  EXPECT_DOUBLE_EQ(Share(10, {1, 100, false}, true), 0.5);
  EXPECT_EQ(Share(7, {1, 5, false}, false), 1);
  EXPECT_EQ(Share(-7, {1, 5, false}, false), 0);
}

}  // namespace
}  // namespace fusiontree::report
