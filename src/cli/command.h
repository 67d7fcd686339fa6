// A command of the program: what it is called, which options it takes, what it does. One file a command.
#ifndef FUSIONTREE_CLI_COMMAND_H_
#define FUSIONTREE_CLI_COMMAND_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/options.h"
#include "engine/ranks.h"

namespace fusiontree::cli {

class Command {
 public:
  virtual ~Command() = default;
  virtual std::string Name() const = 0;     // "generate", or "tokenizer encode" for one of a group
  virtual std::string Summary() const = 0;  // one line of --help
  virtual std::string Example() const = 0;  // shell lines, shown under --help
  virtual void Declare(Options& options) = 0;
  // The ranks that Run's model runs on, this being rank 0; called before Run, where there are several.
  virtual void UseRanks(parallel::Communicator*) {}
  // Every rank runs it, not rank 0 alone; the others print nothing.
  virtual bool OnEveryRank() const { return false; }
  // Exit code: success 0, kFailed 1, kBadInput 2, kCancelled 130 (as a shell reports Ctrl-C).
  virtual base::Status Run() = 0;
};

std::unique_ptr<Command> NewGenerate();
std::unique_ptr<Command> NewChat();
std::unique_ptr<Command> NewLogits();
std::unique_ptr<Command> NewVerify();
std::unique_ptr<Command> NewInspect();
std::unique_ptr<Command> NewInit();
std::unique_ptr<Command> NewTrain();
std::unique_ptr<Command> NewEncode();
std::unique_ptr<Command> NewDecode();
std::unique_ptr<Command> NewRender();
std::unique_ptr<Command> NewTokenizerTrain();
std::unique_ptr<Command> NewDataTokenize();
std::unique_ptr<Command> NewDataStats();
std::unique_ptr<Command> NewDataInspect();
std::unique_ptr<Command> NewBench();
// What bench has the other ranks do.
engine::RankTasks BenchRankTasks();

// Parses the arguments after the program's name and runs the command they name, on the ranks of
// `communicator` where it is not null. Errors go to stderr in one sentence.
int RunProgram(const std::vector<std::string>& arguments,
               const std::vector<std::unique_ptr<Command>>& commands, parallel::Communicator* communicator);
// One process of several that mpirun started: rank 0 runs the program, the others follow.
int RunUnderMpi(const std::vector<std::string>& arguments,
                const std::vector<std::unique_ptr<Command>>& commands);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_COMMAND_H_
