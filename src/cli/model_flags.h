// Options that every command which runs a model shares.
#ifndef FUSIONTREE_CLI_MODEL_FLAGS_H_
#define FUSIONTREE_CLI_MODEL_FLAGS_H_

#include <cstdint>
#include <string>

#include "cli/options.h"
#include "engine/api.h"

namespace fusiontree::cli {

struct ModelFlags {
  std::string model;  // folder or .gguf file
  std::string dtype = "auto", kv = "auto", isa = "auto";
  int64_t threads = 0;  // 0: one per available processor
  bool pin = false;
  int64_t chunk = 512;
  parallel::Communicator* communicator = nullptr;  // not a flag: Command::UseRanks

  // MODEL, --dtype, --kv, --isa, --threads, --pin and --chunk.
  void Declare(Options& options);
  void DeclareWithoutChunk(Options& options);
  engine::EngineOptions EngineOptions() const;
};

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_MODEL_FLAGS_H_
