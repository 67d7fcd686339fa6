// The program under mpirun, in a folder of its own.
#ifndef FUSIONTREE_TESTS_MPIRUN_H_
#define FUSIONTREE_TESTS_MPIRUN_H_

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace fusiontree {

struct Outcome {
  int code = -1;
  std::string out, err;
};

std::string Slurp(const std::filesystem::path& path);

class Mpirun : public testing::Test {
 public:
  void SetUp() override;
  void TearDown() override;

  // What mpirun is called with, up to the program's arguments.
  static std::string Launch(int ranks);
  // Runs a command. `@` stands for the folder.
  Outcome Shell(const std::string& command, const std::string& input = "");
  Outcome Run(int ranks, const std::string& arguments, const std::string& input = "");

  // The same in the background, standard input open; one at a time.
  void Start(int ranks, const std::string& arguments);
  FILE* input() { return job_; }
  // The process of that job whose name begins so: the one that does a rank's work, or, with -1, any.
  pid_t Process(const std::string& name, int rank) const;
  Outcome Finish();  // closes standard input

 protected:
  std::string InFolder(std::string command) const;
  Outcome Ended(int status) const;

  std::filesystem::path folder_;
  FILE* job_ = nullptr;
};

}  // namespace fusiontree

#endif  // FUSIONTREE_TESTS_MPIRUN_H_
