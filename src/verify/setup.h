// A model loaded as the user chose, with the pool and context to run it.
#ifndef FUSIONTREE_VERIFY_SETUP_H_
#define FUSIONTREE_VERIFY_SETUP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "engine/setup.h"
#include "models/model.h"
#include "ops/context.h"
#include "verify/verify.h"

namespace fusiontree::verify {

struct Setup {
  std::unique_ptr<engine::Runtime> runtime;
  models::ComputeType compute;  // as asked for
  EngineUsed used;

  const checkpoint::Checkpoint& checkpoint() const { return *runtime->checkpoint; }
  ops::Context& context() const { return *runtime->context; }
  const models::Model& model() const { return *runtime->model; }
};

base::Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                              const std::function<void(double)>& progress);
// The same on a given table and one rank, whatever choice.isa says; the table outlives the setup.
base::Result<Setup> LoadSetup(const std::string& model_path, const EngineChoice& choice,
                              const kernels::Table* table, const std::function<void(double)>& progress);

// VerifyModel and one combination of VerifyInvariance, on what is loaded.
base::Result<VerifyReport> VerifySetup(Setup* setup, const VerifyOptions& options);
base::Result<InvarianceCombination> InvarianceOfSetup(const Setup& setup,
                                                      const std::vector<std::vector<int32_t>>& texts,
                                                      bool full, const std::function<void(double)>& progress);

// Uniform over the vocabulary, from Philox: one text for each length.
std::vector<std::vector<int32_t>> RandomTexts(uint64_t seed, const std::vector<int64_t>& lengths,
                                              int64_t vocab_size);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_SETUP_H_
