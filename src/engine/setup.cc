#include "engine/setup.h"

#include "engine/ranks.h"
#include "kernels/cpu.h"
#include "kernels/variants.h"

namespace fusiontree::engine {

base::Result<const kernels::Table*> ChooseTable(const std::string& isa) {
  if (!kernels::ThisCpu().fma)
    return base::BadInput("this processor has no fused multiply-add (AVX, FMA), which every variant needs");
  if (isa == "auto") return kernels::Best().table;
  const kernels::Variant* variant = kernels::Find(isa);
  if (variant == nullptr) {
    std::string names;
    for (const kernels::Variant& v : kernels::Variants())
      names += std::string(names.empty() ? "" : ", ") + v.name;
    return base::BadInput("there is no instruction-set variant \"{}\" (auto, {})", isa, names);
  }
  if (variant->table == nullptr)
    return base::BadInput("the variant {} cannot run here: {}", isa, variant->missing);
  return variant->table;
}

base::Result<models::ModelOptions> ChooseTypes(const std::string& dtype, const std::string& kv) {
  models::ModelOptions options;
  if (dtype == "f32") {
    options.compute = models::ComputeType::kF32;
  } else if (dtype == "bf16") {
    options.compute = models::ComputeType::kBf16;
  } else if (dtype != "auto") {
    return base::BadInput("there is no compute type \"{}\" (auto, bf16, f32)", dtype);
  }
  if (kv == "f32") {
    options.cache = models::CacheType::kF32;
  } else if (kv == "bf16") {
    options.cache = models::CacheType::kBf16;
  } else if (kv != "auto") {
    return base::BadInput("there is no cache type \"{}\" (auto, bf16, f32)", kv);
  }
  return options;
}

base::Result<int> ChooseThreads(int threads) {
  const int processors = base::ThreadPool::AvailableProcessors();
  if (threads == 0) return processors;
  if (threads < 0 || threads > 8 * processors)
    return base::BadInput("{} threads are out of range: this process may use {} processors (1 to {} threads)",
                          threads, processors, 8 * processors);
  return threads;
}

base::NumericsPolicy PolicyOf(const kernels::Table& table, const models::Model& model) {
  return {table.name,         model.TypeName(),    model.CacheTypeName(), model.config().reduction_slices,
          kernels::kKeyBlock, kernels::kSplitKeys, kernels::kVocabBlock};
}

base::Result<std::unique_ptr<Runtime>> MakeRuntime(const std::string& model_path,
                                                   const EngineOptions& options) {
  if (options.communicator && options.communicator->size() > 1) return LoadOnAllRanks(model_path, options);
  FT_ASSIGN_OR_RETURN(const kernels::Table* table, ChooseTable(options.isa));
  return MakeRuntime(model_path, options, table);
}

base::Result<std::unique_ptr<Runtime>> MakeRuntime(const std::string& model_path,
                                                   const EngineOptions& options,
                                                   const kernels::Table* table) {
  auto runtime = std::make_unique<Runtime>();
  FT_ASSIGN_OR_RETURN(models::ModelOptions types, ChooseTypes(options.dtype, options.kv));
  FT_ASSIGN_OR_RETURN(const int threads, ChooseThreads(options.threads));
  types.progress = options.progress;
  FT_ASSIGN_OR_RETURN(checkpoint::Checkpoint opened, checkpoint::Checkpoint::Open(model_path));
  runtime->checkpoint.emplace(std::move(opened));
  runtime->pool = std::make_unique<base::ThreadPool>(threads, options.pin);
  runtime->context = std::make_unique<ops::Context>(runtime->pool.get(), table);
  FT_ASSIGN_OR_RETURN(runtime->model, models::LoadModel(*runtime->checkpoint, types, *runtime->context));
  runtime->policy = PolicyOf(*table, *runtime->model);
  return runtime;
}

}  // namespace fusiontree::engine
