// One curve and one set of weights, whatever the threads, the ranks and the restarts.
#include "train/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include "base/sample.h"
#include "kernels/variants.h"
#include "parallel/local.h"
#include "train/snapshot_folder.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;

const char* const kModel = R"({"model_type": "fusiontree", "vocab_size": 40, "hidden_size": 16,
  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "window_size": 6,
  "global_heads": 2, "gate_rank": 3, "ssm_state_size": 4, "max_position_embeddings": 64,
  "dropout": 0.1, "drop_branch_prob": 0.2})";

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("trainer_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream(folder_ / "model.json") << kModel;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Config(const std::string& more = "", const std::string& dtype = "f32") const {
    return "model: " + (folder_ / "model.json").string() + "\nseed: 7\ndtype: " + dtype +
           "\nslots: 4\n"
           "recall: {vocab_size: 40, pairs: 3}\n"
           "stages:\n"
           "  - {tokens: 1920, length: 24, batch: 192}\n"
           "  - {tokens: 768, length: 24, batch: 384, learning_rate_factor: 0.5, windows: [3, 6, 9]}\n"
           "optimizer: {learning_rate: 0.01, warmup_tokens: 500, clip: 0.5}\n"
           "losses: {balance: [[0, 0.1], [1000, 0.0]], entropy: 0.01, polarise: 0.02}\n" +
           more;
  }
  struct End {
    std::vector<float> master;
    std::vector<StepReport> reports;
  };
  // Runs to the end, or for `steps`, and saves.
  End Train(const std::string& config, const std::string& run, bool resume, int64_t steps, int threads,
            parallel::Communicator* communicator = nullptr) {
    base::ThreadPool pool(threads);
    auto trainer = Trainer::Create(config, "test.yaml", {(folder_ / run).string(), resume}, &pool,
                                   kernels::Best().table, communicator);
    EXPECT_TRUE(trainer.ok()) << trainer.status().message();
    End end;
    if (!trainer.ok()) return end;
    for (int64_t i = 0; i < steps && !(*trainer)->done(); ++i) {
      auto report = (*trainer)->Step();
      EXPECT_TRUE(report.ok()) << report.status().message();
      if (!report.ok()) return end;
      end.reports.push_back(*report);
    }
    auto saved = (*trainer)->Save();
    EXPECT_TRUE(saved.ok()) << saved.status().message();
    EXPECT_TRUE((*trainer)->AwaitSave().ok());
    end.master = (*trainer)->master();
    return end;
  }
  static void ExpectSame(const End& a, const End& b, const std::string& what) {
    ASSERT_EQ(a.master.size(), b.master.size()) << what;
    EXPECT_EQ(std::memcmp(a.master.data(), b.master.data(), a.master.size() * sizeof(float)), 0) << what;
    const size_t shared = std::min(a.reports.size(), b.reports.size());
    for (size_t i = 1; i <= shared; ++i) {
      const StepReport &x = a.reports[a.reports.size() - i], &y = b.reports[b.reports.size() - i];
      EXPECT_EQ(std::memcmp(&x, &y, offsetof(StepReport, gates)), 0) << what << ", step " << x.step;
      ASSERT_EQ(x.gates.size(), y.gates.size());
      for (size_t g = 0; g < x.gates.size(); ++g)
        EXPECT_EQ(x.gates[g].Flat(), y.gates[g].Flat()) << what << ", gates of step " << x.step;
    }
  }
  static std::string Slurp(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder_;
};

TEST_F(TrainerTest, ThreadsAndRestartsChangeNoBit) {
  for (const std::string& dtype : base::Sample<std::string>({"bf16", "f32"}, 2)) {
    const std::string config = Config("", dtype), name = dtype;
    const End one = Train(config, name + "1", false, 100, 1);
    ASSERT_EQ(one.reports.size(), 12u);  // 10 steps of 192 tokens, 2 of 384
    EXPECT_EQ(one.reports.back().tokens, 2688);
    EXPECT_LT(one.reports.back().losses.lm, one.reports.front().losses.lm);
    ExpectSame(one, Train(config, name + "3", false, 100, 3), "3 threads");
    Train(config, name + "r", false, 5, 2);
    Train(config, name + "r", true, 6, 1);
    ExpectSame(one, Train(config, name + "r", true, 100, 2), "two restarts");
    for (const char* file : {"model.safetensors", "optimizer.safetensors"})
      EXPECT_EQ(Slurp(SnapshotPath((folder_ / (name + "1")).string(), 12) + "/" + file),
                Slurp(SnapshotPath((folder_ / (name + "r")).string(), 12) + "/" + file))
          << file;
  }
}

TEST_F(TrainerTest, RanksChangeNoBit) {
  const std::string config = Config();
  const End one = Train(config, "one", false, 100, 2);
  for (const int ranks : base::Sample<int>({4, 2}, 2)) {
    const std::string run = "ranks" + std::to_string(ranks);
    std::mutex mutex;
    std::map<int, End> ends;
    const base::Status status = parallel::RunRanks(ranks, [&](parallel::Communicator& communicator) {
      End end = Train(config, run, false, 7, 1, &communicator);
      const std::lock_guard<std::mutex> lock(mutex);
      ends[communicator.rank()] = std::move(end);
      return base::OkStatus();
    });
    ASSERT_TRUE(status.ok()) << status.message();
    for (int r = 1; r < ranks; ++r) ExpectSame(ends[0], ends[r], "rank " + std::to_string(r));
    // A checkpoint of several ranks goes on with one.
    ExpectSame(one, Train(config, run, true, 100, 2), std::to_string(ranks) + " ranks, then one");
  }
}

TEST_F(TrainerTest, EachStageHasItsRows) {
  base::ThreadPool pool(1);
  std::string config = Config();
  auto read = ReadRunConfig(config, "test.yaml");
  ASSERT_TRUE(read.ok()) << read.status().message();
  auto rows = RowSource::Open(*read);
  ASSERT_TRUE(rows.ok()) << rows.status().message();
  int64_t tokens = 0, row = 0;
  for (int64_t step = 0; step < read->steps(); ++step) {
    const StepPlace place = (*rows)->PlaceOf(step);
    EXPECT_EQ(place.tokens_before, tokens);
    EXPECT_EQ(place.first_row, row);
    EXPECT_EQ(place.stage->batch, step < 10 ? 192 : 384);
    tokens += place.stage->batch;
    row += place.stage->rows();
  }
  EXPECT_EQ(tokens, read->tokens());
  // The rate of each step is that of the tokens it ends at, and of its stage.
  const End end = Train(config, "rates", false, 100, 1);
  for (const StepReport& report : end.reports)
    EXPECT_DOUBLE_EQ(report.learning_rate,
                     0.01 * read->rate.Factor(report.tokens) * (report.step > 10 ? 0.5 : 1.0));
  EXPECT_DOUBLE_EQ(end.reports[0].learning_rate, 0.01 * 192 / 500);
  EXPECT_LT(end.reports[11].learning_rate, end.reports[9].learning_rate);
}

TEST_F(TrainerTest, AResumeUnderAnotherConfigIsRefusedByItsKeys) {
  Train(Config(), "run", false, 3, 1);
  base::ThreadPool pool(1);
  const auto resume = [&](std::string config, bool allow) {
    return Trainer::Create(config, "test.yaml", {(folder_ / "run").string(), true, allow}, &pool,
                           kernels::Best().table)
        .status();
  };
  std::string changed = Config();
  changed.replace(changed.find("clip: 0.5"), 9, "clip: 0.7");
  EXPECT_NE(resume(changed, false).message().find("optimizer.clip: 0.5 -> 0.7"), std::string::npos)
      << resume(changed, false).message();
  EXPECT_TRUE(resume(changed, true).ok());
  EXPECT_TRUE(resume(Config("log_every: 3\n"), false).ok());
}

TEST_F(TrainerTest, WhatIsWrongWithAConfigIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"optimizer: {lerning_rate: 1}",
       "there is no key \"optimizer.lerning_rate\" (did you mean "
       "\"learning_rate\"?)"},
      {"optimizer: {learning_rate: \"0.1\"}",
       "\"optimizer.learning_rate\" must be a number from 0 to 100, not "
       "the text \"0.1\""},
      {"slots: 3", "cannot be divided over 3 slots"},
      {"stages: []", "must be a list of maps"},
      {"stages: [{tokens: 10, length: 24, batch: 25}]", "must be a multiple of \"length\""},
      {"stages: [{tokens: 10, length: 24}]", "\"batch\" is missing"},
      {"losses: {balance: [[5, 1], [4, 1]]}", "ascending tokens"},
      {"dtype: f16", "\"dtype\" must be one of f32, bf16, not f16"},
      {"optimizer: {warmup_tokens: 100000}", "\"warmup_tokens\" (100000) is more than the run has (192)"},
      {"model: [", "is not valid YAML"},
      {"seed: -1", "\"seed\" must be an integer of at least 0, not -1"},
  };
  for (const auto& [wrong, expected] : cases) {
    std::map<std::string, std::string> lines = {{"model", "model: m.json"},
                                                {"slots", "slots: 2"},
                                                {"recall", "recall: {vocab_size: 40, pairs: 3}"},
                                                {"stages", "stages: [{tokens: 192, length: 24, batch: 96}]"}};
    lines[std::string(wrong).substr(0, std::string(wrong).find(':'))] = wrong;
    std::string text;
    for (const auto& [key, line] : lines) text += line + "\n";
    const auto read = ReadRunConfig(text, "run.yaml");
    ASSERT_FALSE(read.ok()) << wrong;
    EXPECT_EQ(read.status().message().rfind("run.yaml: ", 0), 0u) << read.status().message();
    EXPECT_NE(read.status().message().find(expected), std::string::npos) << read.status().message();
  }
}

}  // namespace
}  // namespace fusiontree::train
