#include "train/estimate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>

#include "kernels/variants.h"
#include "parallel/local.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModel = R"({"model_type": "fusiontree", "vocab_size": 64, "hidden_size": 32,
  "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 2, "window_size": 8, "global_heads": 1,
  "gate_rank": 4, "layer_types": ["hybrid", "hybrid", "hybrid", "hybrid"]})";

class EstimateTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("estimate_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "work");
    std::ofstream(folder_ / "model.json") << kModel;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Config(const std::string& data) const {
    return "model: model.json\nslots: 4\n" + data +
           "stages:\n  - {tokens: 6400, length: 64, batch: 1024}\n  - {tokens: 4096, length: 128, batch: "
           "2048}\n";
  }
  base::Result<Estimate> Run(const std::string& config, double memory,
                             parallel::Communicator* communicator = nullptr) const {
    base::ThreadPool pool(1);
    if (communicator == nullptr) {
      fs::remove_all(folder_ / "work");
      fs::create_directories(folder_ / "work");
    }
    return EstimateRun(config, (folder_ / "run.yaml").string(), {(folder_ / "work").string(), memory}, &pool,
                       kernels::Best().table, communicator);
  }

  fs::path folder_;
};

TEST_F(EstimateTest, WithoutDataThenWithFewerLayers) {
  const std::string config = Config("data: [{path: nowhere}]\n");
  const auto whole = Run(config, 1e12);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  EXPECT_EQ(whole->missing_data, "nowhere");
  EXPECT_EQ(whole->layers, 4);
  EXPECT_EQ(whole->measured_layers, 4);
  EXPECT_EQ(whole->measured_tokens, 256);
  EXPECT_EQ(whole->steps, 7 + 2);
  EXPECT_EQ(whole->tokens, 7 * 1024 + 2 * 2048);
  ASSERT_EQ(whole->stages.size(), 2u);
  // Twice the tokens, and longer rows.
  EXPECT_GT(whole->stages[1].step_flops, 2.0 * whole->stages[0].step_flops);
  EXPECT_GT(whole->stages[1].step_seconds, 0.0);
  EXPECT_DOUBLE_EQ(whole->seconds(), 7 * whole->stages[0].step_seconds + 2 * whole->stages[1].step_seconds);

  const auto part = Run(config, 1.0);
  ASSERT_TRUE(part.ok()) << part.status().message();
  EXPECT_EQ(part->measured_layers, 2);
  EXPECT_EQ(part->layers, 4);
  EXPECT_EQ(part->parameters, whole->parameters) << "counted from the config, and from the model";
  EXPECT_DOUBLE_EQ(part->stages[0].step_flops, whole->stages[0].step_flops) << "of equal layers, exact";
  EXPECT_GT(part->memory_bytes, 16.0 * static_cast<double>(part->parameters));
  EXPECT_FALSE(fs::exists(folder_ / "work/1-layers"));
}

TEST_F(EstimateTest, OfATaskAndUnderRanks) {
  std::string config = Config("recall: {vocab_size: 64, pairs: 3}\n");
  config.replace(config.find("length: 128"), 11, "length: 64");
  const auto one = Run(config, 1e12);
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_EQ(one->missing_data, "");
  std::mutex mutex;
  const base::Status status = parallel::RunRanks(2, [&](parallel::Communicator& communicator) {
    const auto estimate = Run(config, 1e12, &communicator);
    if (!estimate.ok()) return estimate.status();
    const std::lock_guard<std::mutex> lock(mutex);
    EXPECT_EQ(estimate->parameters, one->parameters);
    EXPECT_DOUBLE_EQ(estimate->stages[0].step_flops, one->stages[0].step_flops);
    return base::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(EstimateTest, WhatIsWrongIsSaid) {
  EXPECT_NE(Run("model: none.json\nrecall: {pairs: 3}\nstages: [{tokens: 64, length: 64, batch: 64}]\n", 0)
                .status()
                .message()
                .find("none.json: cannot be opened"),
            std::string::npos);
  const auto refused =
      Run("model: model.json\nrecall: {vocab_size: 65, pairs: 3}\nstages: [{tokens: 64, length: 64, batch: "
          "64}]\n",
          0);
  EXPECT_NE(refused.status().message().find("65 token ids"), std::string::npos) << refused.status().message();
}

}  // namespace
}  // namespace fusiontree::train
