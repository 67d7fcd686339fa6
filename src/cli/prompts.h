// --prompts FILE.jsonl: one JSON object a line, {"prompt": TEXT} with an id and options of its own.
#ifndef FUSIONTREE_CLI_PROMPTS_H_
#define FUSIONTREE_CLI_PROMPTS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cli/sampling.h"

namespace fusiontree::cli {

struct PromptLine {
  std::string text;
  std::string id_json;  // "id" as it was written (any JSON value), empty without one
  SamplingFlags flags;  // those of the line, else the command's
};

// Keys: prompt, id, temperature, top_k, top_p, min_p, repetition_penalty, seed, max_tokens, stop (a text or a
// list). Empty lines are skipped; anything else is an error that names the line.
base::Result<std::vector<PromptLine>> ParsePrompts(std::string_view jsonl, const SamplingFlags& flags);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_PROMPTS_H_
