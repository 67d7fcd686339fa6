#include "verify/setup.h"

#include <utility>

#include "base/philox.h"
#include "engine/setup.h"

namespace fusiontree::verify {

using base::Result;

namespace {

engine::EngineOptions OptionsOf(const EngineChoice& choice, const std::function<void(double)>& progress) {
  engine::EngineOptions options;
  options.dtype = choice.dtype;
  options.kv = choice.kv;
  options.isa = choice.isa;
  options.threads = choice.threads;
  options.communicator = choice.communicator;
  options.progress = progress;
  return options;
}

Result<Setup> SetupOf(const std::string& model_path, const EngineChoice& choice,
                      Result<std::unique_ptr<engine::Runtime>> runtime) {
  if (!runtime.ok()) return runtime.status();
  FT_ASSIGN_OR_RETURN(const models::ModelOptions types, engine::ChooseTypes(choice.dtype, choice.kv));
  Setup out{std::move(*runtime), types.compute, {}};
  const models::Model& model = out.model();
  out.used = {model_path,           model.config().family, out.context().kernels().name,
              model.TypeName(),     model.CacheTypeName(), out.context().pool().size(),
              out.context().ranks()};
  return out;
}

}  // namespace

Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                        const std::function<void(double)>& progress) {
  return SetupOf(model_path, choice, engine::MakeRuntime(model_path, OptionsOf(choice, progress)));
}

Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                        const kernels::Table* table, const std::function<void(double)>& progress) {
  return SetupOf(model_path, choice, engine::MakeRuntime(model_path, OptionsOf(choice, progress), table));
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
