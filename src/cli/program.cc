#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "cli/command.h"
#include "engine/ranks.h"
#include "parallel/guard.h"
#include "parallel/mpi.h"

namespace fusiontree::cli {
namespace {

constexpr const char* kDescription =
    "FusionTree runs Qwen2- and Llama-family language models on the CPU, and gives the same bits every "
    "time.\n"
    "MODEL is a Hugging Face folder (config.json, *.safetensors, tokenizer.json) or a .gguf file.\n";

int Report(const std::string& command, const base::Status& status) {
  if (status.ok()) return 0;
  if (!status.message().empty())
    std::fprintf(stderr, "fusiontree%s%s: %s\n", command.empty() ? "" : " ", command.c_str(),
                 status.message().c_str());
  switch (status.kind()) {
    case base::ErrorKind::kBadInput:
      return 2;
    case base::ErrorKind::kFailed:
      return 1;
    case base::ErrorKind::kCancelled:
      return 130;
  }
  return 1;
}

std::string ProgramHelp(const std::vector<std::unique_ptr<Command>>& commands) {
  std::string text = kDescription + std::string("\nCommands:\n");
  for (const auto& command : commands)
    text += fmt::format("  {:<20}{}\n", command->Name(), command->Summary());
  return text +
         "\nfusiontree COMMAND --help shows the options of one, with an example; fusiontree --version the "
         "version.\n"
         "Exit codes: 0 done, 1 failed or found a difference, 2 bad use or bad input, 130 stopped by "
         "Ctrl-C.\n";
}

// Names of all commands, or of one group's: "encode, decode, render".
std::string Names(const std::vector<std::unique_ptr<Command>>& commands, const std::string& group) {
  std::string names;
  for (const auto& command : commands) {
    std::string name = command->Name();
    const size_t space = name.find(' ');
    if (group.empty() ? false : space == std::string::npos || name.substr(0, space) != group) continue;
    if (!group.empty()) name = name.substr(space + 1);
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

bool RunsOnEveryRank(const std::vector<std::string>& arguments,
                     const std::vector<std::unique_ptr<Command>>& commands) {
  for (const auto& command : commands)
    if (!arguments.empty() && command->Name() == arguments[0]) return command->OnEveryRank();
  return false;
}

}  // namespace

int RunUnderMpi(const std::vector<std::string>& arguments,
                const std::vector<std::unique_ptr<Command>>& commands) {
  parallel::GuardRank();
  const base::Result<std::unique_ptr<parallel::Communicator>> joined = parallel::JoinMpi();
  if (!joined.ok()) return parallel::LaunchedRank() > 0 ? 2 : Report("", joined.status());
  parallel::Communicator& communicator = **joined;
  const base::Status agreed = engine::AgreeOnProgram(communicator, arguments);
  if (communicator.rank() != 0) {
    if (agreed.ok() && RunsOnEveryRank(arguments, commands)) {
      // What goes wrong everywhere is rank 0's to tell.
      const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      if (null >= 0) ::dup2(null, STDERR_FILENO);
      return RunProgram(arguments, commands, &communicator);
    }
    signal(SIGINT, SIG_IGN);  // where Ctrl-C reaches every rank, rank 0 answers and the others follow
    const base::Status followed = agreed.ok() ? engine::Follow(communicator, BenchRankTasks()) : agreed;
    return followed.ok() ? 0 : followed.kind() == base::ErrorKind::kBadInput ? 2 : 1;
  }
  if (!agreed.ok()) return Report("", agreed);
  const int code = RunProgram(arguments, commands, &communicator);
  if (!RunsOnEveryRank(arguments, commands)) engine::EndRanks(communicator);
  return code;
}

int RunProgram(const std::vector<std::string>& arguments,
               const std::vector<std::unique_ptr<Command>>& commands, parallel::Communicator* communicator) {
  if (arguments.empty()) {
    std::fputs(ProgramHelp(commands).c_str(), stderr);
    return 2;
  }
  const std::string& first = arguments[0];
  if (first == "-h" || first == "--help" || first == "help") {
    std::fputs(ProgramHelp(commands).c_str(), stdout);
    return 0;
  }
  if (first == "--version") {
    std::printf("fusiontree %s\n", base::kProgramVersion);
    return 0;
  }
  const std::string group_names = Names(commands, first);
  const std::string pair = arguments.size() > 1 ? first + " " + arguments[1] : first;
  for (const auto& command : commands) {
    const bool grouped = command->Name() == pair && pair != first;
    if (!grouped && command->Name() != first) continue;
    Options options;
    command->Declare(options);
    const base::Status parsed =
        options.Parse(std::vector<std::string>(arguments.begin() + (grouped ? 2 : 1), arguments.end()));
    if (!parsed.ok()) return Report(command->Name(), parsed);
    if (communicator) command->UseRanks(communicator);
    if (!options.help_asked()) return Report(command->Name(), command->Run());
    std::printf("fusiontree %s %s\n\n%s.\n\n%s\nExample:\n%s\n", command->Name().c_str(),
                options.Usage().c_str(), command->Summary().c_str(), options.Help().c_str(),
                command->Example().c_str());
    return 0;
  }
  if (!group_names.empty()) {
    if (arguments.size() > 1 && (arguments[1] == "-h" || arguments[1] == "--help")) {
      std::printf("fusiontree %s COMMAND --help, where COMMAND is one of %s\n", first.c_str(),
                  group_names.c_str());
      return 0;
    }
    return Report(first, base::BadInput("expected one of {} after it{}", group_names,
                                        arguments.size() > 1 ? ", not '" + arguments[1] + "'" : ""));
  }
  return Report("", base::BadInput("there is no command '{}' (there are {})", first, Names(commands, "")));
}

}  // namespace fusiontree::cli
