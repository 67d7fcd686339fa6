// What stays of a run's checkpoints, what a killed run left, and saves that fail or are damaged.
#include "train/snapshot.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "kernels/variants.h"
#include "train/snapshot_folder.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;

class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("snapshot_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "run/checkpoints");
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Run() const { return folder_ / "run"; }
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "run/checkpoints"))
      names.insert(entry.path().filename());
    return names;
  }
  std::string Link() const {
    const fs::path link = folder_ / "run/checkpoints/best";
    return fs::is_symlink(fs::symlink_status(link)) ? fs::read_symlink(link).string() : "";
  }
  // A checkpoint of nothing but what it measured; 0: nothing.
  void Put(int64_t step, double bits, int64_t bytes = 100) const {
    const std::string path = SnapshotPath(Run(), step);
    fs::create_directories(path);
    std::ofstream out(path + "/state.json");
    out << R"({"step": )" << step << R"(, "tokens": 1, "config": "", "fingerprint": "", "files": {})";
    if (bits > 0.0) out << R"(, "held_out": {"bits_per_byte": )" << bits << R"(, "bytes": )" << bytes << "}";
    out << "}";
  }

  // A tiny run.
  base::Result<std::unique_ptr<Trainer>> Start(bool resume) {
    const fs::path model = folder_ / "model.json";
    std::ofstream(model) << R"({"model_type": "fusiontree", "vocab_size": 40, "hidden_size": 16,
      "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "window_size": 6,
      "global_heads": 2, "gate_rank": 3, "ssm_state_size": 4, "max_position_embeddings": 64})";
    return Trainer::Create("model: " + model.string() +
                               "\nrecall: {vocab_size: 40, pairs: 3}\nkeep: 2\n"
                               "stages: [{tokens: 480, length: 24, batch: 24}]\n",
                           "test.yaml", {Run(), resume}, &pool_, kernels::Best().table);
  }
  static void Steps(Trainer* trainer, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const auto step = trainer->Step();
      ASSERT_TRUE(step.ok()) << step.status().message();
    }
  }

  fs::path folder_;
  base::ThreadPool pool_{1};
};

TEST_F(SnapshotTest, TheLastOnesAndTheBestStay) {
  using Set = std::set<std::string>;
  EXPECT_FALSE(FindBestSnapshot(Run()));
  for (const int64_t step : {2, 4}) Put(step, 0.0);
  KeepSnapshots(Run(), 3);
  EXPECT_EQ(Names(), (Set{"step-00000002", "step-00000004"}));
  EXPECT_EQ(Link(), "");
  Put(6, 2.5);
  Put(8, 2.0);
  Put(10, 0.0);
  KeepSnapshots(Run(), 2);
  EXPECT_EQ(Names(), (Set{"best", "step-00000008", "step-00000010"}));
  EXPECT_EQ(Link(), "step-00000008");
  // An equal one later is no better; a worse one neither.
  Put(12, 2.0);
  Put(14, 2.25);
  Put(16, 3.0);
  KeepSnapshots(Run(), 2);
  EXPECT_EQ(Names(), (Set{"best", "step-00000008", "step-00000014", "step-00000016"}));
  EXPECT_EQ(Link(), "step-00000008");
  const auto best = FindBestSnapshot(Run());
  ASSERT_TRUE(best);
  EXPECT_EQ(best->step, 8);
  EXPECT_EQ(best->bits_per_byte, 2.0);
  // On more text, what was measured before cannot be compared.
  Put(18, 2.75, 200);
  KeepSnapshots(Run(), 2);
  EXPECT_EQ(Names(), (Set{"best", "step-00000016", "step-00000018"}));
  EXPECT_EQ(Link(), "step-00000018");
}

TEST_F(SnapshotTest, WhatAKilledRunLeftIsTakenAway) {
  Put(4, 0.0);
  for (const char* name : {"step-00000008.partial", "step-00000002.removed"}) {
    fs::create_directories(folder_ / "run/checkpoints" / name);
    std::ofstream(folder_ / "run/checkpoints" / name / "state.json") << "{";
  }
  fs::create_directory_symlink("step-00000002", folder_ / "run/checkpoints/best.new");
  EXPECT_EQ(ListSnapshots(Run()), std::vector<int64_t>{4});
  std::ofstream(folder_ / "run/checkpoints/notes.partial") << "someone's own";
  ASSERT_TRUE(ClearSnapshotLeftovers(Run()).ok());
  EXPECT_EQ(Names(), (std::set<std::string>{"notes.partial", "step-00000004"}));
}

TEST_F(SnapshotTest, ASaveGoesOnBesideTheStepsAndHoldsItsOwn) {
  auto trainer = Start(false);
  ASSERT_TRUE(trainer.ok()) << trainer.status().message();
  Steps(trainer->get(), 3);
  const std::vector<float> at_three = (*trainer)->master();
  const auto saved = (*trainer)->Save();
  ASSERT_TRUE(saved.ok());
  Steps(trainer->get(), 2);  // while it is written
  ASSERT_TRUE((*trainer)->AwaitSave().ok());
  EXPECT_NE((*trainer)->master(), at_three);
  const auto again = Start(true);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ((*again)->step(), 3);
  EXPECT_EQ((*again)->master(), at_three);
}

TEST_F(SnapshotTest, ASaveThatFailsIsAnErrorOfTheNextStepAndTheOldOneStays) {
  auto trainer = Start(false);
  ASSERT_TRUE(trainer.ok()) << trainer.status().message();
  Steps(trainer->get(), 2);
  ASSERT_TRUE((*trainer)->Save().ok());
  ASSERT_TRUE((*trainer)->AwaitSave().ok());
  Steps(trainer->get(), 1);
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {8192, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_TRUE((*trainer)->Save().ok()) << "it is only begun";
  const base::Status awaited = (*trainer)->AwaitSave();
  const base::Status next = (*trainer)->Step().status();
  const base::Status save = (*trainer)->Save().status();
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  for (const base::Status& status : {awaited, next, save}) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.kind(), base::ErrorKind::kFailed);
    EXPECT_NE(status.message().find("step-00000003.partial/model.safetensors\" cannot be written"),
              std::string::npos)
        << status.message();
  }
  EXPECT_EQ(Names(), std::set<std::string>{"step-00000002"});
  EXPECT_TRUE(Start(true).ok());
}

TEST_F(SnapshotTest, ACheckpointCutShortIsRefusedByName) {
  {
    auto trainer = Start(false);
    ASSERT_TRUE(trainer.ok()) << trainer.status().message();
    for (int i = 0; i < 2; ++i) {
      Steps(trainer->get(), 2);
      ASSERT_TRUE((*trainer)->Save().ok());
    }
    ASSERT_TRUE((*trainer)->AwaitSave().ok());
  }
  const std::string path = SnapshotPath(Run(), 4);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(path)) {
    ++files;
    const fs::path file = entry.path();
    std::ifstream in(file, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    for (const size_t size : {bytes.size() - 1, bytes.size() / 2, size_t{0}}) {
      fs::resize_file(file, size);
      const auto resumed = Start(true);
      // The state without its last newline is whole.
      if (size > 0 && resumed.ok() && file.filename() == "state.json" && size == bytes.size() - 1) continue;
      ASSERT_FALSE(resumed.ok()) << file << " of " << size;
      EXPECT_EQ(resumed.status().kind(), base::ErrorKind::kBadInput);
      const std::string message = resumed.status().message();
      EXPECT_EQ(message.find(file.string() + ": "), 0u) << message;
      EXPECT_NE(message.find("(with " + path + " taken away, the run goes on from step 2)"),
                std::string::npos)
          << message;
    }
    std::ofstream(file, std::ios::binary) << bytes;
  }
  EXPECT_EQ(files, 4);  // config, model, optimizer, state
  fs::remove(path + "/model.safetensors");
  const auto resumed = Start(true);
  ASSERT_FALSE(resumed.ok());
  EXPECT_NE(resumed.status().message().find("model.safetensors: cannot be read: No such file"),
            std::string::npos)
      << resumed.status().message();
  fs::remove_all(path);
  const auto earlier = Start(true);
  ASSERT_TRUE(earlier.ok()) << earlier.status().message();
  EXPECT_EQ((*earlier)->step(), 2);
}

}  // namespace
}  // namespace fusiontree::train
