// How the next token is chosen: options, else generation_config.json, else the most likely token.
#ifndef FUSIONTREE_CLI_SAMPLING_H_
#define FUSIONTREE_CLI_SAMPLING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/options.h"
#include "engine/api.h"

namespace fusiontree::cli {

struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k, seed, max_tokens;
  std::vector<std::string> stop;

  void Declare(Options& options);
};

// What a model's authors recommend (generation_config.json).
struct GenerationDefaults {
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::vector<int32_t> eos_ids;  // eos_token_id, a number or a list
};

// Unknown keys are ignored: the file holds settings of many generation methods. A wrong type is an error.
base::Result<GenerationDefaults> ParseGenerationConfig(const std::string& json);

// Options win over defaults. Without --temperature: the recommended one when the model's authors sample, or
// when an option of sampling (--top-k, --top-p, --min-p, --seed) asks for it; else 0, the most likely token.
engine::Sampling ResolveSampling(const SamplingFlags& flags, const GenerationDefaults& defaults);

// "greedy", or "temperature 0.7, top-p 0.8, seed 1".
std::string Describe(const engine::Sampling& sampling);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_SAMPLING_H_
