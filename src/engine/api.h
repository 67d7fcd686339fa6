// The engine as its users see it: token ids in, token ids out. Names no tensor or model type; no exit, no
// stdout, no signal handler below here. The future C interface.
#ifndef FUSIONTREE_ENGINE_API_H_
#define FUSIONTREE_ENGINE_API_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::parallel {
class Communicator;
}

namespace fusiontree::engine {

struct EngineOptions {
  std::string dtype = "auto";  // auto, bf16, f32
  std::string kv = "auto";     // auto, bf16, f32
  std::string isa = "auto";    // auto, ref, avx2, avx512, avx512bf16, amx
  int threads = 0;             // 0: one per available processor
  bool pin = false;
  int64_t chunk = 512;                   // most prefill tokens of one step, over all sequences
  int64_t max_sequences = 64;            // that run at once; others wait
  size_t cache_bytes = 0;                // 0: half of the memory that is free after loading
  std::function<void(double)> progress;  // of loading, 0..1
  // Ranks that run the model together, this being rank 0 and the others in Follow (engine/ranks.h); null: one
  // rank.
  parallel::Communicator* communicator = nullptr;
};

struct Sampling {
  double temperature = 1.0;         // 0: the largest logit, ties to the lowest id
  int64_t top_k = 0;                // 0: off
  double top_p = 1.0;               // 1: off
  double min_p = 0.0;               // 0: off
  double repetition_penalty = 1.0;  // 1: off; over prompt and generated tokens, as Transformers defines it
  uint64_t seed = 0;
};

enum class FinishReason { kStop, kLength, kCancelled, kFailed };

struct Completion {
  std::vector<int32_t> tokens;  // without the token that ended it
  FinishReason reason = FinishReason::kStop;
  base::Status status;  // says why when kFailed
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, found in the session's cache
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  Sampling sampling;
  int64_t max_tokens = 256;       // most tokens generated; the context length also ends it
  std::vector<int32_t> stop_ids;  // each ends the text and is not part of it
  uint64_t choice = 0;            // keys the random draws beside the seed: n-th completion of one prompt
  // A session keeps its cache after the request and starts the next one from the longest common prefix; -1:
  // none.
  int64_t session = -1;
  // Called for each generated token (not for stop ids), on the thread that steps; false ends the request.
  std::function<bool(int32_t)> on_token;
  std::function<void(const Completion&)> on_done;
};

struct ModelSummary {
  std::string family;          // "qwen2", ...
  std::string isa, dtype, kv;  // as chosen
  int threads = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  std::vector<int32_t> eos_ids;  // from the model's config
  size_t weight_bytes = 0, cache_bytes = 0;
  std::string fingerprint;  // of the numerics policy (R12)
};

struct Stats {  // since loading
  int64_t steps = 0, prefill_tokens = 0, decode_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;  // a step with any prefill row counts as prefill
};

class Engine {
 public:
  static base::Result<std::unique_ptr<Engine>> Load(const std::string& model_path,
                                                    const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelSummary& summary() const = 0;
  virtual const Stats& stats() const = 0;

  // Queues a request, or says why it can never run (empty prompt, ids outside the vocabulary, longer than the
  // context or the cache, options out of range). Its callbacks come from Step.
  virtual base::Status Submit(Request request) = 0;
  // One forward over a ragged batch of whatever is waiting or running; false when there is nothing to do.
  virtual bool Step() = 0;
  // Forgets a session's cache. Not while a request of it is running.
  virtual void EndSession(int64_t session) = 0;
};

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_API_H_
