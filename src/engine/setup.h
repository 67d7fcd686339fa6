// From options to a model ready to run: threads, kernel variant, checkpoint, weights. Engine, `logits`,
// `verify` and `bench` all start here.
#ifndef FUSIONTREE_ENGINE_SETUP_H_
#define FUSIONTREE_ENGINE_SETUP_H_

#include <memory>
#include <optional>
#include <string>

#include "base/policy.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "engine/api.h"
#include "models/model.h"
#include "ops/context.h"

namespace fusiontree::engine {

struct Runtime {
  std::optional<checkpoint::Checkpoint> checkpoint;
  std::unique_ptr<base::ThreadPool> pool;
  std::unique_ptr<ops::Context> context;
  std::unique_ptr<models::Model> model;
  base::NumericsPolicy policy;
};

// Uses dtype, kv, isa, threads, pin and progress of the options. Errors are sentences that name the option.
base::Result<std::unique_ptr<Runtime>> MakeRuntime(const std::string& model_path,
                                                   const EngineOptions& options);

// The same on a given table, whatever options.isa says, and one rank; the table outlives the runtime.
base::Result<std::unique_ptr<Runtime>> MakeRuntime(const std::string& model_path,
                                                   const EngineOptions& options, const kernels::Table* table);

base::NumericsPolicy PolicyOf(const kernels::Table& table, const models::Model& model);

// The kernel table of an --isa value; "auto" is the best this processor has. An unknown or missing variant is
// an error that says why.
base::Result<const kernels::Table*> ChooseTable(const std::string& isa);
base::Result<models::ModelOptions> ChooseTypes(const std::string& dtype, const std::string& kv);
// 0: one per available processor. Refuses more than eight a processor.
base::Result<int> ChooseThreads(int threads);

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_SETUP_H_
