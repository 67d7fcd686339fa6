#include "mpirun.h"

#include <stdlib.h>
#include <sys/wait.h>

#include <fstream>
#include <iterator>

namespace fusiontree {

namespace fs = std::filesystem;

std::string Slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Mpirun::SetUp() {
  std::string pattern = fs::temp_directory_path() / "fusiontree-mpi-XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  folder_ = pattern;
  setenv("FUSIONTREE_TEST_JOB", pattern.c_str(), 1);  // by which a job's processes are found
  // LeakSanitizer finds what MPI keeps until the process ends.
  setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
  // Quiet where a machine forbids copying between processes.
  setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
}

void Mpirun::TearDown() {
  if (job_ != nullptr) Finish();
  fs::remove_all(folder_);
}

std::string Mpirun::Launch(int ranks) {
  return std::string(FUSIONTREE_MPIEXEC) + " --allow-run-as-root --oversubscribe --bind-to none -n " +
         std::to_string(ranks) + " " + FUSIONTREE_BINARY + " ";
}

std::string Mpirun::InFolder(std::string command) const {
  for (size_t at; (at = command.find('@')) != std::string::npos;)
    command.replace(at, 1, folder_.string() + "/");
  return "cd " + folder_.string() + " && timeout --kill-after=5 600 " + command + " > stdout 2> stderr";
}

Outcome Mpirun::Ended(int status) const {
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), Slurp(folder_ / "stdout"),
          Slurp(folder_ / "stderr")};
}

Outcome Mpirun::Shell(const std::string& command, const std::string& input) {
  std::ofstream(folder_ / "stdin") << input;
  return Ended(std::system((InFolder(command) + " < stdin").c_str()));
}

Outcome Mpirun::Run(int ranks, const std::string& arguments, const std::string& input) {
  return Shell((ranks == 1 ? std::string(FUSIONTREE_BINARY) + " " : Launch(ranks)) + arguments, input);
}

void Mpirun::Start(int ranks, const std::string& arguments) {
  for (const char* name : {"stdout", "stderr"}) std::ofstream(folder_ / name).close();
  job_ = popen(InFolder(Launch(ranks) + arguments).c_str(), "w");
  ASSERT_NE(job_, nullptr);
}

pid_t Mpirun::Process(const std::string& name, int rank) const {
  const std::string job = "FUSIONTREE_TEST_JOB=" + folder_.string() + '\0';
  const std::string its_rank = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + '\0';
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string id = entry.path().filename();
    if (id.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string environment = Slurp(entry.path() / "environ");
    if (environment.find(job) == std::string::npos) continue;
    if (rank >= 0 && environment.find(its_rank) == std::string::npos) continue;
    if (Slurp(entry.path() / "comm").rfind(name, 0) == 0) return static_cast<pid_t>(std::stol(id));
  }
  return -1;
}

Outcome Mpirun::Finish() {
  const int status = pclose(job_);
  job_ = nullptr;
  return Ended(status);
}

}  // namespace fusiontree
