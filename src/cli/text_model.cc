#include "cli/text_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "report/units.h"

namespace fusiontree::cli {

base::Result<TextModel> TextModel::Open(const ModelFlags& flags) {
  TextModel model;
  model.flags_ = flags;
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(flags.model));
  FT_ASSIGN_OR_RETURN(tokenizer::Tokenizer tokenizer, tokenizer::Tokenizer::Load(checkpoint));
  model.tokenizer_ = std::make_unique<tokenizer::Tokenizer>(std::move(tokenizer));
  FT_ASSIGN_OR_RETURN(const std::optional<std::string> config, checkpoint.ReadText("generation_config.json"));
  if (config) {
    FT_ASSIGN_OR_RETURN(model.defaults_, ParseGenerationConfig(*config));
  }
  return model;
}

base::Status TextModel::Load() {
  const auto start = std::chrono::steady_clock::now();
  base::Progress progress("loading");
  engine::EngineOptions options = flags_.EngineOptions();
  options.progress = [&progress](double fraction) { progress.Update(fraction); };
  FT_ASSIGN_OR_RETURN(engine_, engine::Engine::Load(flags_.model, options));
  progress.Finish();
  load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return base::OkStatus();
}

std::vector<int32_t> TextModel::StopIds() const {
  std::vector<int32_t> ids = defaults_.eos_ids;
  const auto add = [&ids](const std::vector<int32_t>& more) {
    ids.insert(ids.end(), more.begin(), more.end());
  };
  add(engine_->summary().eos_ids);
  add(tokenizer_->eos_ids());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::string TextModel::Describe() const {
  const engine::ModelSummary& summary = engine_->summary();
  return fmt::format("{}, cache {}, {}, {} thread{}", summary.dtype, summary.kv, summary.isa, summary.threads,
                     summary.threads == 1 ? "" : "s");
}

std::string Rate(int64_t tokens, double seconds) {
  if (tokens <= 0 || seconds <= 0) return "-";
  const double rate = static_cast<double>(tokens) / seconds;
  return rate >= 1000 ? report::Grouped(static_cast<int64_t>(rate + 0.5)) : fmt::format("{:.1f}", rate);
}

}  // namespace fusiontree::cli
