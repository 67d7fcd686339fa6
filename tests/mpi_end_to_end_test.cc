// The program under mpirun: the same bytes as without it, on both transports, and what goes wrong in one
// sentence.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tiny_model.h"

namespace fusiontree {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = -1;
  std::string out, err;
};

std::string Slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Mpirun : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "fusiontree-mpi-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    WriteTinyModel(
        (folder_ / "tiny").string());  // four query heads, two KV heads: two reduction slices or more
    // LeakSanitizer finds what MPI keeps until the process ends.
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    // Quiet where a machine forbids copying between processes.
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string Launch(int ranks) {
    return std::string(FUSIONTREE_MPIEXEC) + " --allow-run-as-root --oversubscribe --bind-to none -n " +
           std::to_string(ranks) + " " + FUSIONTREE_BINARY + " ";
  }
  // `@` stands for the folder.
  Outcome Shell(std::string command, const std::string& input = "") {
    for (size_t at; (at = command.find('@')) != std::string::npos;)
      command.replace(at, 1, folder_.string() + "/");
    std::ofstream(folder_ / "stdin") << input;
    const std::string in = folder_.string();
    const int status =
        std::system(("cd " + in + " && timeout 120 " + command + " < stdin > stdout 2> stderr").c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), Slurp(folder_ / "stdout"),
            Slurp(folder_ / "stderr")};
  }
  Outcome Run(int ranks, const std::string& arguments, const std::string& input = "") {
    return Shell((ranks == 1 ? std::string(FUSIONTREE_BINARY) + " " : Launch(ranks)) + arguments, input);
  }

  fs::path folder_;
};

TEST_F(Mpirun, EveryCommandGivesTheSameBytes) {
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

TEST_F(Mpirun, VerifyAndBenchRunOnAllRanks) {
  for (const char* arguments : {"verify @tiny", "verify @tiny --invariance --isa ref --dtype f32 --kv f32",
                                "bench @tiny --seconds 0.01"}) {
    const Outcome o = Run(2, arguments);
    EXPECT_EQ(o.code, 0) << arguments << "\n" << o.err << o.out;
    EXPECT_NE(o.out.find("ranks"), std::string::npos) << arguments << "\n" << o.out;
  }
}

TEST_F(Mpirun, WhatGoesWrongIsOneSentenceOfRankZero) {
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

TEST_F(Mpirun, AKilledRankEndsTheJob) {
  // Rank 1 kills itself in the middle of the work: its shell is replaced by the program after the clock is
  // set.
  const auto start = std::chrono::steady_clock::now();
  std::ofstream prompts(folder_ / "prompts.jsonl");
  for (int i = 0; i < 4000; ++i) prompts << "{\"prompt\": \"abc\", \"max_tokens\": 200}\n";
  prompts.close();
  std::ofstream(folder_ / "rank.sh")
      << "[ \"$OMPI_COMM_WORLD_RANK\" = 1 ] && { me=$$; ( sleep 2; kill -9 $me ) & }\n"
      << "exec " << FUSIONTREE_BINARY << " \"$@\"\n";
  const Outcome o = Shell(std::string(FUSIONTREE_MPIEXEC) +
                          " --allow-run-as-root --oversubscribe --bind-to none -n 4 sh @rank.sh " +
                          "generate @tiny --prompts @prompts.jsonl");
  EXPECT_NE(o.code, 0);
  EXPECT_NE(o.code, 124) << "the job went on";
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2 + 10)) << o.err;
}

}  // namespace
}  // namespace fusiontree
