#include "verify/setup.h"

#include <utility>

#include "base/philox.h"
#include "engine/setup.h"

namespace fusiontree::verify {

using base::Result;

Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                        const std::function<void(double)>& progress) {
  FT_ASSIGN_OR_RETURN(const kernels::Table* table, engine::ChooseTable(choice.isa));
  return LoadSetup(model_path, choice, table, progress);
}

Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                        const kernels::Table* table, const std::function<void(double)>& progress) {
  FT_ASSIGN_OR_RETURN(models::ModelOptions options, engine::ChooseTypes(choice.dtype, choice.kv));
  options.progress = progress;
  FT_ASSIGN_OR_RETURN(const int threads, engine::ChooseThreads(choice.threads));
  FT_ASSIGN_OR_RETURN(checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(model_path));
  Setup out{std::move(checkpoint),
            std::make_unique<base::ThreadPool>(threads),
            nullptr,
            nullptr,
            options.compute,
            {}};
  out.context = std::make_unique<ops::Context>(out.pool.get(), table);
  FT_ASSIGN_OR_RETURN(out.model, models::LoadModel(out.checkpoint, options, *out.context));
  out.used = {
      model_path, out.model->config().family, table->name, out.model->TypeName(), out.model->CacheTypeName(),
      threads};
  return out;
}

std::vector<std::vector<int32_t>> RandomTexts(uint64_t seed, const std::vector<int64_t>& lengths,
                                              int64_t vocab_size) {
  std::vector<std::vector<int32_t>> out;
  for (size_t text = 0; text < lengths.size(); ++text) {
    out.emplace_back();
    for (int64_t i = 0; i < lengths[text]; ++i) {
      const auto bits = base::Philox(seed, static_cast<uint64_t>(i), text);
      out.back().push_back(
          static_cast<int32_t>(base::UnitDouble(bits[0], bits[1]) * static_cast<double>(vocab_size)));
    }
  }
  return out;
}

}  // namespace fusiontree::verify
