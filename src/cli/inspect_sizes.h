// What a checkpoint would need in memory, and what each of several ranks would own, from the headers alone.
#ifndef FUSIONTREE_CLI_INSPECT_SIZES_H_
#define FUSIONTREE_CLI_INSPECT_SIZES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "models/spec.h"

namespace fusiontree::cli {

struct MemoryNeed {
  double weights = 0, cache = 0;  // bytes
  std::string weight_type, cache_type;
};

// `dtype`, `kv`: auto, bf16 or f32 as on the command line. Types follow the table under R9 of
// docs/numerics.md.
MemoryNeed NeedOf(const checkpoint::Checkpoint& checkpoint, const models::Spec& spec,
                  const std::string& dtype, const std::string& kv, int64_t context, int64_t batch);

struct RankShare {
  int degree = 1, rank = 0;
  base::Range query_heads{0, 0}, kv_heads{0, 0};
  int64_t slices = 0;
  base::Range vocabulary{0, 0};  // rows
  uint64_t bytes = 0;            // that it reads of the file's tensors
  uint64_t replicated = 0;       // of them, what every rank reads
  uint64_t token_bytes = 0;      // of keys and values in bf16 that each token of a text adds
  uint64_t state_bytes = 0;      // of states that a sequence keeps
};

// What each rank owns at one degree; an error lists the valid degrees, or names a tensor that is missing or
// of the wrong shape.
base::Result<std::vector<RankShare>> SharesAt(const checkpoint::Checkpoint& checkpoint,
                                              const models::Spec& spec, int degree);
// The largest share at each valid degree.
base::Result<std::vector<RankShare>> LargestShares(const checkpoint::Checkpoint& checkpoint,
                                                   const models::Spec& spec);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_INSPECT_SIZES_H_
