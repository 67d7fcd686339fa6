#include "cli/model_flags.h"

namespace fusiontree::cli {
namespace {

constexpr int64_t kMaxThreads = 256;
constexpr int64_t kMaxChunk = int64_t{1} << 16;

}  // namespace

void ModelFlags::DeclareWithoutChunk(Options& options) {
  options.Argument("MODEL", "a Hugging Face folder or a .gguf file", &model);
  options.Choice("--dtype", {"auto", "bf16", "f32"},
                 "type of the products; auto: as the file holds the weights", &dtype);
  options.Choice("--kv", {"auto", "bf16", "f32"}, "type of the cache; auto: as the products", &kv);
  options.Choice("--isa", {"auto", "ref", "avx2", "avx512", "avx512bf16", "amx"},
                 "instruction set; auto: the best that this processor has", &isa);
  options.Integer("--threads", "threads (default: one per processor); never changes a bit of the answer", 1,
                  kMaxThreads, &threads);
  options.Flag("--pin", "keep each thread on one processor", &pin);
}

void ModelFlags::Declare(Options& options) {
  DeclareWithoutChunk(options);
  options.Integer("--chunk", "most prompt tokens in one forward (default 512)", 1, kMaxChunk, &chunk);
}

engine::EngineOptions ModelFlags::EngineOptions() const {
  engine::EngineOptions options;
  options.dtype = dtype;
  options.kv = kv;
  options.isa = isa;
  options.threads = static_cast<int>(threads);
  options.pin = pin;
  options.chunk = chunk;
  options.communicator = communicator;
  return options;
}

}  // namespace fusiontree::cli
