// What a checkpoint would need in memory, and what each of several ranks would own, from the headers alone.
#ifndef FUSIONTREE_CLI_INSPECT_SIZES_H_
#define FUSIONTREE_CLI_INSPECT_SIZES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "models/decoder/config.h"

namespace fusiontree::cli {

struct MemoryNeed {
  double weights = 0, cache = 0;  // bytes, without the padding of packed panels
  std::string weight_type, cache_type;
};

// `dtype`, `kv`: auto, bf16 or f32 as on the command line. Types follow the table under R9 of
// docs/numerics.md.
MemoryNeed NeedOf(const checkpoint::Checkpoint& checkpoint, const models::DecoderConfig& config,
                  const std::string& dtype, const std::string& kv, int64_t context, int64_t batch);

struct RankShare {
  int64_t degree = 1;
  int64_t query_heads = 0, kv_heads = 0, slices = 0, vocabulary_rows = 0;  // of the rank that owns most
  uint64_t bytes = 0;                                                      // of the file's tensors
  double replicated = 0;  // share of `bytes` that every rank holds
};

// One entry a valid degree; an error names a tensor that is missing or of the wrong shape.
base::Result<std::vector<RankShare>> RankShares(const checkpoint::Checkpoint& checkpoint,
                                                const models::DecoderConfig& config);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_INSPECT_SIZES_H_
