// What a run will cost, before it is run: its model (or, of one too large to be tried, its first layers)
// makes a few small steps, from which whole steps are computed.
#ifndef FUSIONTREE_TRAIN_ESTIMATE_H_
#define FUSIONTREE_TRAIN_ESTIMATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "kernels/table.h"
#include "parallel/communicator.h"

namespace fusiontree::train {

struct StageEstimate {
  int64_t length = 0, batch = 0, steps = 0;
  double step_seconds = 0.0;
  double step_flops = 0.0;  // the model's, of all ranks
};

struct Estimate {
  int64_t parameters = 0, tokens = 0, steps = 0;
  int64_t layers = 0, measured_layers = 0;  // equal: the whole model was measured
  int64_t measured_tokens = 0;              // of a step of one rank
  std::string missing_data;                 // a data set that is not there: random tokens took its place
  double memory_bytes = 0.0;                // of a rank, at most
  std::vector<StageEstimate> stages;
  double seconds() const;
};

struct EstimateOptions {
  std::string folder;  // exists, empty, the same on every rank: files are written and left there
  double memory =
      0.0;  // bytes that the whole model may take, else its layers are extrapolated; 0: of the machine
};

// Every rank calls it. Errors: what is wrong with the config, its model or data; two layers that do not fit.
base::Result<Estimate> EstimateRun(const std::string& config_text, const std::string& name,
                                   const EstimateOptions& options, base::ThreadPool* pool,
                                   const kernels::Table* table,
                                   parallel::Communicator* communicator = nullptr);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_ESTIMATE_H_
