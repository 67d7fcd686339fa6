#include "report/plot_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

namespace fusiontree::report {
namespace {

namespace fs = std::filesystem;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class PlotRunTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "small-hybrid-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  // FUSIONTREE_KEEP_PLOTS=<folder> keeps the pictures there, to be looked at.
  void TearDown() override {
    if (const char* keep = std::getenv("FUSIONTREE_KEEP_PLOTS");
        keep != nullptr && fs::exists(folder_ / "plots"))
      fs::copy(folder_ / "plots",
               fs::path(keep) / testing::UnitTest::GetInstance()->current_test_info()->name(),
               fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    fs::remove_all(folder_);
  }
  void Write(const std::string& text) { std::ofstream(folder_ / kMetricsFile, std::ios::binary) << text; }
  std::string Read(const fs::path& path) {
    std::ifstream file(folder_ / path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path folder_;
};

// Lines of a made-up run: noise is a fixed sequence, the rest smooth curves.
std::string MadeUpRun(int steps, int layers) {
  uint64_t state = 1;
  const auto noise = [&state] {  // about -1 to 1
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state >> 40) / (1 << 23) - 1;
  };
  std::string text;
  for (int step = 1; step <= steps; ++step) {
    const double t = static_cast<double>(step) / steps;
    const double lm = 2.1 + 6.3 * std::exp(-step / 120.0) + 0.9 * std::exp(-step / 700.0) + 0.13 * noise();
    const double balance = std::max(0.0, 0.08 * std::exp(-t * 6) + 0.01 * noise());
    const double entropy = -0.68 + 0.25 * t * t + 0.01 * noise();
    const double polarise = 0.24 - 0.12 * t * t + 0.004 * noise();
    Record record;
    record.step = step;
    record.tokens = step * 8192;
    record.numbers = {
        {"loss", lm + 0.1 * balance + 0.05 * polarise},
        {"lm", lm},
        {"balance", balance},
        {"entropy", entropy},
        {"polarise", polarise},
        {"learning_rate", 6e-4 * (step < 100 ? step / 100.0 : 0.55 + 0.45 * std::cos(3.14159 * t))},
        {"gradient_norm", step == 1400 ? 31 : 0.4 + 2.5 * std::exp(-step / 90.0) + 0.12 * noise()},
        {"tokens_per_second", 6400 + 300 * noise() - (step % 500 == 0 ? 2500 : 0)},
        {"mfu", 0.41 + 0.02 * noise()},
        {"memory_bytes", 1.31e9 + 1e7 * std::floor(t * 4)}};
    if (step % 100 == 0)
      record.numbers.emplace_back("held_out_bits_per_byte",
                                  1.55 + 1.9 * std::exp(-step / 300.0) + 0.01 * noise());
    text += ToLine(record);
    if (step % 10 != 0) continue;
    for (int layer = 0; layer < layers; ++layer) {
      const double depth = static_cast<double>(layer) / layers;
      GatesRecord gates{
          step, layer, 0.5 + 0.36 * t * std::sin(5 * depth + 0.4) + 0.012 * noise(), 0.05 + 0.1 * t, {}};
      for (int bin = 0; bin < kGateBins; ++bin) {
        const double z = ((bin + 0.5) / kGateBins - gates.mean) / gates.deviation;
        gates.histogram.push_back(std::floor(1e6 * std::exp(-z * z / 2)));
      }
      text += ToLine(ToRecord(gates));
    }
  }
  return text;
}

TEST_F(PlotRunTest, DrawsAWholeRunTheSameTwice) {
  Write(MadeUpRun(2000, 12));
  const auto written = PlotRun(folder_);
  ASSERT_TRUE(written.ok()) << written.status().message();
  EXPECT_EQ(written->size(), 8u);
  for (const std::string& path : *written) EXPECT_GT(fs::file_size(path), 5000u) << path;
  std::vector<std::string> first;
  for (const char* name : {"loss", "learning_rate", "gates", "overview"})
    first.push_back(Read(fs::path("plots") / (std::string(name) + ".svg")));
  ASSERT_TRUE(PlotRun(folder_).ok());
  size_t i = 0;
  for (const char* name : {"loss", "learning_rate", "gates", "overview"})
    EXPECT_EQ(first[i++], Read(fs::path("plots") / (std::string(name) + ".svg"))) << name;
  EXPECT_NE(first[0].find(">Held-out text<"), std::string::npos);
  EXPECT_NE(first[2].find(">layer<"), std::string::npos);
}

TEST_F(PlotRunTest, LeavesOutWhatIsAbsent) {
  Write("{\"step\": 1, \"learning_rate\": 0.1}\n{\"step\": 2, \"other\": 0.1}\n");
  const auto written = PlotRun(folder_);
  ASSERT_TRUE(written.ok()) << written.status().message();
  const std::string plots = (folder_ / "plots/").string();
  EXPECT_EQ(*written, (std::vector<std::string>{plots + "learning_rate.png", plots + "learning_rate.svg",
                                                plots + "overview.png", plots + "overview.svg"}));
}

TEST_F(PlotRunTest, ShortRunsAndGapsAreDrawn) {
  Write(MadeUpRun(30, 40) +
        "{\"step\": 31, \"loss\": null, \"lm\": 3}\n{\"step\": 32, \"loss\": 4}\n{\"step\": 33");
  EXPECT_TRUE(PlotRun(folder_).ok());
  Write("{\"step\": 7, \"loss\": 3.5, \"learning_rate\": null}\n");
  EXPECT_TRUE(PlotRun(folder_).ok());
}

TEST_F(PlotRunTest, ErrorsAreOneSentenceThatNamesTheFile) {
  const auto message = [&] {
    const auto written = PlotRun(folder_);
    EXPECT_FALSE(written.ok());
    EXPECT_FALSE(fs::exists(folder_ / "plots"));
    const std::string text = written.ok() ? "" : written.status().message();
    EXPECT_NE(text.find("metrics.jsonl"), std::string::npos) << text;
    return text;
  };
  EXPECT_NE(message().find("No such file"), std::string::npos);
  Write("");
  EXPECT_NE(message().find("no finished line"), std::string::npos);
  Write("{\"step\": 1, \"loss\"");
  EXPECT_NE(message().find("no finished line"), std::string::npos);
  Write("{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"lo\n{\"step\": 3}\n");
  EXPECT_NE(message().find("line 2: it is not valid JSON"), std::string::npos);
  Write("{\"kind\": \"gates\", \"step\": 2, \"layer\": 1, \"mean\": 0.5}\n");
  EXPECT_NE(message().find("line 1: a record of gates needs a \"deviation\""), std::string::npos);
  Write("{\"step\": 2, \"unknown\": 1}\n");
  EXPECT_NE(message().find("none of the numbers"), std::string::npos);
  fs::remove(folder_ / kMetricsFile);
  fs::create_directory(folder_ / kMetricsFile);
  EXPECT_NE(message().find("not a regular file"), std::string::npos);
}

TEST(RunFigures, TheGatesOfAStepAndLayerAreInTheirCell) {
  RunHistory history;
  for (const int64_t step : {10, 20})
    for (const int layer : {0, 2}) {
      if (step == 20 && layer == 0) continue;
      ASSERT_TRUE(history
                      .Add(ToRecord({step, layer, 0.5 + 0.01 * static_cast<double>(step) + 0.02 * layer, 0.1,
                                     std::vector<double>(kGateBins, 1)}))
                      .ok());
    }
  const auto figures = RunFigures(history, "run");
  ASSERT_EQ(figures.front().first, "gates");
  const auto& map = std::get<HeatMap>(figures.front().second.panels.front());
  EXPECT_EQ(map.rows, (std::vector<std::string>{"0", "2"}));
  EXPECT_EQ(map.columns, (std::vector<double>{10, 20}));
  EXPECT_DOUBLE_EQ(map.values_RC[0], 0.6);
  EXPECT_TRUE(std::isnan(map.values_RC[1]));
  EXPECT_DOUBLE_EQ(map.values_RC[2], 0.64);
  EXPECT_DOUBLE_EQ(map.values_RC[3], 0.74);
  // 0.24 from the middle: the bar ends at round values around it.
  EXPECT_DOUBLE_EQ(map.low, 0.2);
  EXPECT_DOUBLE_EQ(map.high, 0.8);
}

TEST(RunFigures, ManyStepsOfGatesAreThinned) {
  RunHistory history;
  for (int64_t step = 0; step < 9000; ++step)
    ASSERT_TRUE(history.Add(ToRecord({step, 0, 0.5, 0.1, std::vector<double>(kGateBins, 1)})).ok());
  const auto figures = RunFigures(history, "run");
  const auto& map = std::get<HeatMap>(figures.front().second.panels.front());
  EXPECT_EQ(map.columns.size(), 3000u);
  EXPECT_EQ(map.values_RC.size(), 3000u);
  EXPECT_EQ(map.columns[1], 3);
}

TEST(Smoothed, KeepsEndsGapsAndExtremes) {
  Series series;
  for (int i = 0; i < 1000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i % 2 == 0 ? 1 : 3);
  }
  series.y[500] = kNaN;
  series.y[300] = 50;
  const Series smooth = Smoothed(series, 0.02);
  ASSERT_EQ(smooth.y.size(), 1000u);
  EXPECT_EQ(smooth.y.front(), 1);
  EXPECT_TRUE(std::isnan(smooth.y[500]) && std::isnan(smooth.band_low[500]));
  EXPECT_FALSE(std::isnan(smooth.y[501]));
  EXPECT_NEAR(smooth.y[300], 2, 0.2);
  EXPECT_NEAR(smooth.y[700], 2, 0.2);
  EXPECT_EQ(smooth.band_low[700], 1);
  EXPECT_EQ(smooth.band_high[700], 3);
  EXPECT_EQ(smooth.band_high[305], 50);
  EXPECT_EQ(smooth.band_high[311], 3);
  series.x.resize(50);
  series.y.resize(50);
  EXPECT_TRUE(Smoothed(series, 0.02).band_low.empty());
}

TEST(Smoothed, LongSeriesBecomeShortAndLoseNoExtreme) {
  Series series;
  for (int i = 0; i < 123457; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 77777 ? 9 : 1);
  }
  const Series smooth = Smoothed(series, 0.01);
  EXPECT_LT(smooth.y.size(), 2100u);
  EXPECT_EQ(smooth.x.back(), 123456);
  EXPECT_EQ(*std::max_element(smooth.band_high.begin(), smooth.band_high.end()), 9);
  EXPECT_EQ(*std::max_element(smooth.y.begin(), smooth.y.end()), 1);
}

}  // namespace
}  // namespace fusiontree::report
