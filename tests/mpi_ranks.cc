// One rank of a job that mpi_test starts under mpirun: mpi_ranks CASE [messages]. Exit code 0: the case went
// as it should.
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "parallel/communicator_cases.h"
#include "parallel/guard.h"
#include "parallel/mpi.h"

namespace fusiontree::parallel {
namespace {

constexpr int kVictim = 2;

// The victim raises `signal` while the others exchange; nobody gets to the end.
base::Status Lose(Communicator& ranks, int signal) {
  FT_RETURN_IF_ERROR(cases::Exchanges(ranks));
  if (ranks.rank() == kVictim) raise(signal);
  ranks.Window(10);
  ranks.Exchange(10);
  std::this_thread::sleep_for(std::chrono::seconds(60));
  return base::OkStatus();
}

base::Status RunCase(Communicator& ranks, const std::string& name) {
  if (name == "all") return cases::All(ranks);
  if (name == "name") {
    if (ranks.rank() == 0) fmt::print("{}: {} ranks\n", ranks.Name(), ranks.size());
    return base::OkStatus();
  }
  if (name.rfind("failure", 0) == 0) return cases::Failure(ranks, name.back() - '0');
  if (name == "killed") return Lose(ranks, SIGKILL);
  if (name == "stopped") return Lose(ranks, SIGSTOP);
  if (name == "gone") {  // without a goodbye
    if (ranks.rank() == kVictim) _exit(0);
    ranks.Barrier();
    std::this_thread::sleep_for(std::chrono::seconds(60));
    return base::OkStatus();
  }
  if (name == "refused") {  // one rank cannot begin; rank 0 is long busy and asks for no status
    if (ranks.rank() == kVictim) ranks.Fail(base::BadInput("model.gguf: cannot read"));
    if (ranks.rank() == 0) std::this_thread::sleep_for(std::chrono::seconds(60));
    ranks.Barrier();
    return ranks.status();
  }
  if (name == "printed") {  // as a program does it: rank 0 prints, all end by themselves
    if (ranks.rank() == kVictim) ranks.Fail(base::BadInput("model.gguf: cannot read"));
    ranks.Barrier();
    if (ranks.rank() == 0) fmt::print(stderr, "fusiontree: {}\n", ranks.status().message());
    return base::OkStatus();
  }
  if (name == "different") {
    ranks.Window(100);
    ranks.Exchange(ranks.rank() == 0 ? 100 : 99);
    const base::Status status = ranks.status();
    if (status.ok() || status.message().find("the same operation") == std::string::npos)
      return base::Failed("a difference was not seen");
    return base::OkStatus();
  }
  return base::BadInput("unknown case '{}'", name);
}

int Main(int argc, char** argv) {
  if (argc < 2) return 2;
  GuardRank();
  base::Result<std::unique_ptr<Communicator>> ranks =
      JoinMpi({.messages = argc > 2 && std::strcmp(argv[2], "messages") == 0});
  if (!ranks.ok()) {
    fmt::print(stderr, "{}\n", ranks.status().message());
    return 2;
  }
  const base::Status status = RunCase(**ranks, argv[1]);
  if (!status.ok() && (*ranks)->rank() == 0) fmt::print(stderr, "wrong: {}\n", status.message());
  if (!status.ok()) (*ranks)->Fail(status);
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace fusiontree::parallel

int main(int argc, char** argv) { return fusiontree::parallel::Main(argc, argv); }
