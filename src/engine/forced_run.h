// Runs given tokens through a model and its cache on a chosen schedule and hands out every logits row: for
// `logits`, for `verify`, for tests. Nothing is sampled.
#ifndef FUSIONTREE_ENGINE_FORCED_RUN_H_
#define FUSIONTREE_ENGINE_FORCED_RUN_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "models/model.h"

namespace fusiontree::engine {

struct ForcedOptions {
  int64_t chunk = 512;     // tokens of one sequence a forward; 1 = token by token through the cache
  bool together = true;    // all sequences advance in the same forward; else one after the other
  bool reverse = false;    // order of the sequences in the batch
  size_t cache_bytes = 0;  // 0: what the sequences need
};

// Called in batch order for each row: logits [vocab_size] of position `position` of sequence `sequence`.
using LogitsSink = std::function<base::Status(int64_t sequence, int64_t position, const float* logits)>;

// Every sequence has at least one token. A non-finite row is an error that names the operation that made it
// first.
base::Status ForcedRun(ops::Context& context, const models::Model& model,
                       const std::vector<std::vector<int32_t>>& sequences, const ForcedOptions& options,
                       const LogitsSink& sink);

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_FORCED_RUN_H_
