// A model that reads and writes text: checkpoint, tokenizer and engine together, for generate and chat.
#ifndef FUSIONTREE_CLI_TEXT_MODEL_H_
#define FUSIONTREE_CLI_TEXT_MODEL_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/model_flags.h"
#include "cli/sampling.h"
#include "engine/api.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {

class TextModel {
 public:
  // Reads tokenizer and generation defaults: quick, so that bad input is told before the weights are read.
  static base::Result<TextModel> Open(const ModelFlags& flags);
  // Reads the weights, with progress on stderr.
  base::Status Load();

  const tokenizer::Tokenizer& tokenizer() const { return *tokenizer_; }
  const GenerationDefaults& defaults() const { return defaults_; }
  engine::Engine& engine() { return *engine_; }
  double load_seconds() const { return load_seconds_; }

  // Every id that ends a text: of generation_config.json, the model's config and the tokenizer. After Load.
  std::vector<int32_t> StopIds() const;
  // "bf16, cache bf16, avx512bf16, 2 threads".
  std::string Describe() const;

 private:
  TextModel() = default;
  ModelFlags flags_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  GenerationDefaults defaults_;
  std::unique_ptr<engine::Engine> engine_;
  double load_seconds_ = 0;
};

// "1,234" or "45.1": tokens per second, "-" when there was no time.
std::string Rate(int64_t tokens, double seconds);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_TEXT_MODEL_H_
