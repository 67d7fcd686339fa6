// The cases over one rank and over threads; tests/mpi_test.cc runs them over processes.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "parallel/communicator_cases.h"
#include "parallel/local.h"
#include "parallel/mpi.h"
#include "parallel/one_rank.h"

namespace fusiontree::parallel {
namespace {

std::string Sentence(const base::Status& status) { return status.ok() ? "" : status.message(); }

TEST(OneRank, DoesWhatEveryCommunicatorDoes) {
  OneRank ranks;
  EXPECT_EQ(ranks.Name(), "one rank");
  EXPECT_EQ(Sentence(cases::All(ranks)), "");
  for (int kind = 0; kind < 4; ++kind) {
    OneRank failing;
    EXPECT_EQ(Sentence(cases::Failure(failing, kind)), "");
  }
}

class Threads : public testing::TestWithParam<int> {};

TEST_P(Threads, DoWhatEveryCommunicatorDoes) {
  std::atomic<int> ran = 0;
  const base::Status status = RunRanks(GetParam(), [&](Communicator& ranks) {
    EXPECT_EQ(ranks.size(), GetParam());
    EXPECT_EQ(ranks.Name(), "threads");
    ran |= 1 << ranks.rank();
    return cases::All(ranks);
  });
  EXPECT_EQ(Sentence(status), "");
  EXPECT_EQ(ran, (1 << GetParam()) - 1);
}

TEST_P(Threads, AllHearOfTheFirstFailure) {
  for (int kind = 0; kind < 4; ++kind) {
    LocalGroup group(GetParam());
    std::vector<std::thread> threads;
    for (int rank = 0; rank < GetParam(); ++rank)
      threads.emplace_back(
          [&group, rank, kind] { EXPECT_EQ(Sentence(cases::Failure(group.rank(rank), kind)), ""); });
    for (std::thread& thread : threads) thread.join();
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Threads, testing::Values(1, 2, 3, 4));

TEST(RunRanks, ReturnsABodysErrorAndLetsTheOthersGo) {
  const base::Status status = RunRanks(4, [](Communicator& ranks) -> base::Status {
    if (ranks.rank() == 2) return base::BadInput("rank 2 has another file");
    for (int i = 0; i < 10; ++i) ranks.Barrier();
    return ranks.status();
  });
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.message(), "rank 2 has another file");
  EXPECT_EQ(status.kind(), base::ErrorKind::kBadInput);
}

TEST(RunRanks, OperationsThatDifferFailTheJob) {
  const char* const sentence = "parallel: the ranks are not at the same operation with the same size";
  EXPECT_EQ(Sentence(RunRanks(3,
                              [](Communicator& ranks) {
                                ranks.Window(100);
                                ranks.Exchange(ranks.rank() == 1 ? 99 : 100);
                                return ranks.status();
                              })),
            sentence);
  EXPECT_EQ(Sentence(RunRanks(2,
                              [](Communicator& ranks) {
                                char byte = 0, all[2];
                                if (ranks.rank() == 0) ranks.Broadcast(&byte, 1);
                                if (ranks.rank() == 1) ranks.AllGather(&byte, 1, all);
                                return ranks.status();
                              })),
            sentence);
}

TEST(RunRanks, AWindowBeyondTheLimitFailsTheJob) {
  const base::Status status = RunRanks(2, [](Communicator& ranks) {
    // Touched at its two ends only: such a window is there, though it leads nowhere.
    const int64_t floats = static_cast<int64_t>(kMostWindowBytes / sizeof(float)) + 1;
    float* window = ranks.Window(floats);
    window[0] = window[floats - 1] = 1;
    ranks.Exchange(floats);
    return ranks.status();
  });
  EXPECT_EQ(Sentence(status), "parallel: a window of 268435457 floats is more than 1024 MB");
}

TEST(RunRanks, ALongSentenceIsCutBetweenCharacters) {
  std::string sentence = "x";
  while (sentence.size() < 1500) sentence += "é";
  const base::Status status = RunRanks(2, [&](Communicator&) { return base::Failed("{}", sentence); });
  EXPECT_EQ(Sentence(status), sentence.substr(0, 999));
}

// Rank 0 may wait for a person: the others sleep, so the processor time of the wait is a small part of it.
TEST(RunRanks, WhoWaitsSleeps) {
  const auto processor_seconds = [] {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const base::Status status = RunRanks(2, [&](Communicator& ranks) {
    char byte = 0;
    if (ranks.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(600));
    const double before = processor_seconds();
    ranks.Broadcast(&byte, 1);
    if (ranks.rank() == 1) {
      EXPECT_LT(processor_seconds() - before, 0.3);
    }
    return ranks.status();
  });
  EXPECT_EQ(Sentence(status), "");
}

TEST(Mpi, IsLaunchedWhenSeveralRanksAre) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"}) unsetenv(name);
  EXPECT_FALSE(LaunchedByMpi());
  setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
  EXPECT_FALSE(LaunchedByMpi());
  setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_TRUE(LaunchedByMpi());
  unsetenv("OMPI_COMM_WORLD_SIZE");
}

}  // namespace
}  // namespace fusiontree::parallel
