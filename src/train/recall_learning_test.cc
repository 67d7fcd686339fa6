// The model learns to look things up, and it is the heads that see everything which do it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/sample.h"
#include "kernels/variants.h"
#include "train/evaluate.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;

constexpr int kPairs = 4, kLength = 32, kVocabulary = 32;

class RecallLearning : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("recall_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Config(int global_heads, int64_t steps) const {
    // Between the last pair and the first question lie at most 8 + 2 tokens, more than a window of 2 sees.
    std::ofstream(folder_ / "model.json")
        << R"({"model_type": "fusiontree", "vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2,
               "num_attention_heads": 4, "num_key_value_heads": 4, "window_size": 2, "gate_rank": 8,
               "layer_types": ["attention", "attention"], "global_heads": )"
        << global_heads << "}";
    return "model: model.json\nseed: 1\nrecall: {vocab_size: " + std::to_string(kVocabulary) +
           ", pairs: " + std::to_string(kPairs) + "}\nstages: [{tokens: " + std::to_string(steps * 1024) +
           ", length: " + std::to_string(kLength) +
           ", batch: 1024}]\noptimizer: {learning_rate: 3e-3, warmup_tokens: " + std::to_string(steps * 50) +
           "}\n";
  }
  double Accuracy(int global_heads, int64_t steps) {
    base::ThreadPool pool(1);  // the operations are small
    const kernels::Table* table = kernels::Best().table;
    const std::string run = (folder_ / ("run" + std::to_string(global_heads))).string();
    auto trainer =
        Trainer::Create(Config(global_heads, steps), (folder_ / "run.yaml").string(), {run}, &pool, table);
    EXPECT_TRUE(trainer.ok()) << trainer.status().message();
    if (!trainer.ok()) return -1.0;
    while (!(*trainer)->done()) {
      const auto report = (*trainer)->Step();
      EXPECT_TRUE(report.ok()) << report.status().message();
      if (!report.ok()) return -1.0;
    }
    const auto task = data::RecallTask::Make((*trainer)->config().recall[0], 1);
    ops::Context context(&pool, table);
    const auto score = EvaluateRecall(context, (*trainer)->model(), *task, 16384);
    EXPECT_TRUE(score.ok()) << score.status().message();
    EXPECT_EQ(score->asked, 16384 / kLength * kPairs);
    return score->accuracy();
  }

  fs::path folder_;
};

TEST_F(RecallLearning, TakesAHeadThatSeesEverything) {
  if (base::kInstrumented) {
    EXPECT_GE(Accuracy(1, 2), 0.0);  // it runs; learning takes the release build
    return;
  }
  EXPECT_GE(Accuracy(1, 400), 0.95);
  EXPECT_LE(Accuracy(0, 400), 1.0 / kPairs + 0.08);
}

}  // namespace
}  // namespace fusiontree::train
