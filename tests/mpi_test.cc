// Ranks as processes under mpirun: the cases of every communicator over both transports, and the ways a job
// can end. A job that should end badly has 10 s for it, which is a promise to the user, not a measure of
// speed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace fusiontree {
namespace {

struct Ended {
  int code = -1;
  double seconds = 0;
  std::string output;  // of both streams
};

Ended RunJob(int ranks, const std::string& arguments) {
  // As root in containers; several ranks a processor; quiet where a machine forbids copying between
  // processes.
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
  // Open MPI does not give all of its memory back at exit; everything else is still checked.
  setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
  // The exit code of a job that hangs shall not be the one expected.
  const std::string command = "timeout --kill-after=5 60 " FUSIONTREE_MPIEXEC
                              " --oversubscribe --bind-to none -n " +
                              std::to_string(ranks) + " " FUSIONTREE_MPI_RANKS " " + arguments + " 2>&1";
  Ended ended;
  const auto begin = std::chrono::steady_clock::now();
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    ended.output.append(buffer.data(), n);
  const int status = pclose(pipe);
  ended.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

class Transports : public testing::TestWithParam<std::string> {
 protected:
  Ended Job(int ranks, const std::string& name) const { return RunJob(ranks, name + " " + GetParam()); }
  bool messages() const { return GetParam() == "messages"; }
};

TEST_P(Transports, HasItsName) {
  const Ended job = Job(2, "name");
  EXPECT_EQ(job.code, 0) << job.output;
  EXPECT_NE(job.output.find(messages() ? "MPI: 2 ranks" : "MPI in shared memory: 2 ranks"), std::string::npos)
      << job.output;
}

TEST_P(Transports, DoesWhatEveryCommunicatorDoes) {
  for (const int ranks : {1, 2, 4}) {
    const Ended job = Job(ranks, "all");
    EXPECT_EQ(job.code, 0) << ranks << " ranks: " << job.output;
  }
}

// A bad end: not 0, not the timeout of the test, within 10 s, and one sentence.
void ExpectEnd(const Ended& job, const std::string& sentence) {
  EXPECT_NE(job.code, 0) << job.output;
  EXPECT_NE(job.code, 124) << job.output;
  EXPECT_LT(job.seconds, 10) << job.output;
  EXPECT_EQ(Count(job.output, "fusiontree: "), 1) << job.output;
  EXPECT_EQ(Count(job.output, "fusiontree: " + sentence + "\n"), 1) << job.output;
}

TEST_P(Transports, AKilledRankEndsTheJob) {
  const Ended job = Job(4, "killed");
  EXPECT_EQ(job.code, 1);  // the rank's guard ends, not by a signal
  ExpectEnd(job, "rank 2 ended before its work was done");
}

TEST_P(Transports, AStoppedRankEndsTheJob) {
  const Ended job = Job(4, "stopped");
  EXPECT_EQ(job.code, 1);
  ExpectEnd(job, "rank 2 has not answered for 5 s");
}

TEST_P(Transports, ARankThatLeavesWithoutGoodbyeEndsTheJob) {
  const Ended job = Job(4, "gone");
  EXPECT_NE(job.code, 0) << job.output;
  EXPECT_LT(job.seconds, 10) << job.output;
}

TEST_P(Transports, AFailureEndsTheJobWhileOthersAreBusy) {
  const Ended job = Job(4, "refused");
  EXPECT_EQ(job.code, 1);
  ExpectEnd(job, messages() ? "rank 2: model.gguf: cannot read" : "model.gguf: cannot read");
}

INSTANTIATE_TEST_SUITE_P(Mpi, Transports, testing::Values("shared", "messages"),
                         [](const auto& one) { return one.param; });

TEST(SharedMemory, AllHearOfTheFirstFailure) {
  for (const int ranks : {2, 4}) {
    for (int kind = 0; kind < 4; ++kind) {
      const Ended job = RunJob(ranks, "failure" + std::to_string(kind));
      EXPECT_EQ(job.code, 0) << ranks << " ranks: " << job.output;
    }
  }
}

TEST(SharedMemory, RankZeroPrintsAndAllEnd) {
  const Ended job = RunJob(4, "printed");
  EXPECT_EQ(job.code, 0) << job.output;
  EXPECT_EQ(job.output, "fusiontree: model.gguf: cannot read\n");
}

TEST(SharedMemory, OperationsThatDifferFailTheJob) {
  const Ended job = RunJob(2, "different");
  EXPECT_EQ(job.code, 0) << job.output;
}

TEST(Messages, AFailureEndsTheJobWithTheRanksSentence) {
  const Ended job = RunJob(4, "printed messages");
  EXPECT_EQ(job.code, 1);
  ExpectEnd(job, "rank 2: model.gguf: cannot read");
}

}  // namespace
}  // namespace fusiontree
