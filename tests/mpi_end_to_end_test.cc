// The program under mpirun: the same bytes as without it, on both transports, and what goes wrong in one
// sentence.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "mpirun.h"
#include "tiny_model.h"

namespace fusiontree {
namespace {

namespace fs = std::filesystem;

class Program : public Mpirun {
 protected:
  void SetUp() override {
    Mpirun::SetUp();
    WriteTinyModel(
        (folder_ / "tiny").string());  // four query heads, two KV heads: two reduction slices or more
  }
};

TEST_F(Program, EveryCommandGivesTheSameBytes) {
  const std::pair<const char*, const char*> commands[] = {
      {"generate @tiny -p 'Hello there' -n 24 --temperature 0.9 --seed 5", ""},
      {"generate @tiny -n 12 --threads 2 --chunk 3", "text from standard input"},
      {"chat @tiny -n 8", "hello\nand again\n/reset\nhello\n"},
      {"tokenizer encode @tiny 'Hello'", ""},
      {"inspect @tiny", ""}};
  for (const auto& [arguments, input] : commands) {
    const Outcome one = Run(1, arguments, input);
    ASSERT_EQ(one.code, 0) << arguments << "\n" << one.err;
    ASSERT_FALSE(one.out.empty()) << arguments;
    for (const int ranks : {2, 4}) {
      const Outcome many = Run(ranks, arguments, input);
      EXPECT_EQ(many.code, 0) << ranks << " ranks: " << arguments << "\n" << many.err;
      EXPECT_EQ(many.out, one.out) << ranks << " ranks: " << arguments;
    }
  }
  std::ofstream(folder_ / "ids.json") << "[[1, 2, 3, 250, 7], [9, 8]]";
  ASSERT_EQ(Run(1, "logits @tiny --ids @ids.json --hidden -o one.st").code, 0);
  ASSERT_EQ(Run(2, "logits @tiny --ids @ids.json --hidden --chunk 2 -o two.st").code, 0);
  EXPECT_EQ(Slurp(folder_ / "one.st"), Slurp(folder_ / "two.st"));
}

TEST_F(Program, VerifyAndBenchRunOnAllRanks) {
  for (const char* arguments : {"verify @tiny", "verify @tiny --invariance --isa ref --dtype f32 --kv f32",
                                "bench @tiny --seconds 0.01"}) {
    const Outcome o = Run(2, arguments);
    EXPECT_EQ(o.code, 0) << arguments << "\n" << o.err << o.out;
    EXPECT_NE(o.out.find("ranks"), std::string::npos) << arguments << "\n" << o.out;
  }
}

TEST_F(Program, WhatGoesWrongIsOneSentenceOfRankZero) {
  const auto expect = [&](const Outcome& o, const char* part) {
    EXPECT_EQ(o.code, 2) << o.err;
    EXPECT_EQ(o.out, "");
    const size_t at = o.err.find("fusiontree");
    ASSERT_NE(at, std::string::npos) << o.err;
    EXPECT_EQ(o.err.find("fusiontree", o.err.find('\n', at)), std::string::npos) << "two sentences:\n"
                                                                                 << o.err;
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  expect(Run(3, "generate @tiny -p a"), "this model cannot be cut over 3 ranks, but over 1, 2, 4");
  expect(Run(2, "generate @nothing -p a"), "nothing");
  expect(Run(2, "generate @tiny --no-such-flag"), "--no-such-flag");
  const std::string program = std::string(FUSIONTREE_BINARY) + " ";
  expect(Shell(Launch(1) + "generate @tiny -p a : -n 1 " + program + "generate @tiny -p a --dtype f32"),
         "rank 1 was started with other arguments than rank 0");
}

// A long job, some of its work done.
void BeginLongWork(Mpirun* test, const fs::path& folder, int ranks) {
  std::ofstream prompts(folder / "prompts.jsonl");
  for (int i = 0; i < 4000; ++i) prompts << "{\"prompt\": \"abc\", \"max_tokens\": 200}\n";
  prompts.close();
  test->Start(ranks, "generate @tiny --prompts @prompts.jsonl");
  for (int i = 0; i < 200 && fs::file_size(folder / "stdout") == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_GT(fs::file_size(folder / "stdout"), 0u);
}

TEST_F(Program, AKilledRankEndsTheJobInOneSentence) {
  for (const int victim : {0, 2}) {
    BeginLongWork(this, folder_, 4);
    const pid_t process = Process("fusiontree", victim);
    ASSERT_GT(process, 0);
    const auto start = std::chrono::steady_clock::now();
    kill(process, SIGKILL);
    const Outcome o = Finish();
    EXPECT_EQ(o.code, 1) << o.err;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    const std::string sentence =
        "fusiontree: rank " + std::to_string(victim) + " ended before its work was done\n";
    EXPECT_NE(o.err.find(sentence), std::string::npos) << o.err;
    EXPECT_EQ(o.err.find("fusiontree: "), o.err.rfind("fusiontree: ")) << o.err;
  }
}

bool Runs(pid_t process) {
  const std::string stat = Slurp(fs::path("/proc") / std::to_string(process) / "stat");
  return !stat.empty() && stat.substr(stat.rfind(')') + 2, 1) != "Z";
}

// Open MPI's exit code is 1 whatever the ranks do, but nobody is left behind and what was written stays.
TEST_F(Program, CtrlCEndsAllRanks) {
  BeginLongWork(this, folder_, 2);
  const pid_t ranks[] = {Process("fusiontree", 0), Process("fusiontree", 1)};
  const pid_t launcher = Process("mpi", -1);
  ASSERT_GT(launcher, 0);
  const auto start = std::chrono::steady_clock::now();
  kill(launcher, SIGINT);
  const Outcome o = Finish();
  EXPECT_NE(o.code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_FALSE(o.out.empty());
  EXPECT_EQ(o.err.find("fusiontree: "), std::string::npos) << o.err;
  // mpirun does not wait for what it has ended; an instrumented process takes a while to go.
  for (const pid_t rank : ranks) {
    while (Runs(rank) && std::chrono::steady_clock::now() - start < std::chrono::seconds(10))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(Runs(rank));
  }
}

// A launcher that hands Ctrl-C on: every rank has it, rank 0 answers as without mpirun.
TEST_F(Program, AnInterruptOfTheRanksEndsAsWithOneRank) {
  BeginLongWork(this, folder_, 2);
  for (const int rank : {1, 0}) {
    const pid_t process = Process("fusiontree", rank), guard = Process("rank-guard", rank);
    ASSERT_GT(process, 0);
    ASSERT_GT(guard, 0);
    kill(process, SIGINT);
    kill(guard, SIGINT);
  }
  const Outcome o = Finish();
  EXPECT_EQ(o.code, 130) << o.err;
  EXPECT_EQ(o.err.find("fusiontree: "), std::string::npos) << o.err;
}

}  // namespace
}  // namespace fusiontree
