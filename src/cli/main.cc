#include <cstdio>
#include <exception>

#include "cli/command.h"
#include "parallel/mpi.h"

int main(int argc, char** argv) {
  namespace cli = fusiontree::cli;
  try {
    std::vector<std::unique_ptr<cli::Command>> commands;
    commands.push_back(cli::NewGenerate());
    commands.push_back(cli::NewChat());
    commands.push_back(cli::NewInspect());
    commands.push_back(cli::NewInit());
    commands.push_back(cli::NewTrain());
    commands.push_back(cli::NewLogits());
    commands.push_back(cli::NewVerify());
    commands.push_back(cli::NewBench());
    commands.push_back(cli::NewEncode());
    commands.push_back(cli::NewDecode());
    commands.push_back(cli::NewRender());
    commands.push_back(cli::NewTokenizerTrain());
    commands.push_back(cli::NewDataTokenize());
    commands.push_back(cli::NewDataStats());
    commands.push_back(cli::NewDataInspect());
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (fusiontree::parallel::LaunchedByMpi()) return cli::RunUnderMpi(arguments, commands);
    return cli::RunProgram(arguments, commands, nullptr);
  } catch (const std::bad_alloc&) {
    std::fputs("fusiontree: out of memory\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fusiontree: internal error: %s\n", error.what());
  }
  return 1;
}
