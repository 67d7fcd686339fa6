// What one rank of a degree-t run owns of each tensor (R2 and R3 of docs/numerics.md), from the rule's kind
// alone.
#ifndef FUSIONTREE_MODELS_SHARDING_H_
#define FUSIONTREE_MODELS_SHARDING_H_

#include <cstdint>

#include "base/thread_pool.h"
#include "models/weight_map.h"
#include "ops/context.h"

namespace fusiontree::models {

struct Shard {
  int rank = 0;
  int degree = 1;
};

// This context's rank; an error lists the degrees at which a model of so many reduction slices can be cut.
base::Result<Shard> ShardOf(const checkpoint::Checkpoint& checkpoint, int64_t slices,
                            const ops::Context& context);

// Query head h uses KV head h / (heads / kv_heads).
struct HeadCounts {
  int64_t heads = 1, kv_heads = 1;
};

// Heads of a rank: query heads in equal runs, and every KV head that these use, so that a KV head whose query
// heads lie on several ranks is held by each of them.
base::Range QueryHeads(const HeadCounts& counts, Shard shard);
base::Range KvHeads(const HeadCounts& counts, Shard shard);
// Rows of the vocabulary: whole blocks of kernels::kVocabBlock, runs that differ by one block at most; may be
// empty.
base::Range VocabularyRows(int64_t vocab_size, Shard shard);

// The part of a tensor of this rule that the rank holds.
struct Owned {
  base::Range rows, columns;  // a vector has one column
};
Owned OwnedPart(const TensorRule& rule, const HeadCounts& counts, Shard shard);

// Bytes of the file that hold it: of block-quantised tensors every block that its columns touch.
uint64_t OwnedBytes(const checkpoint::TensorInfo& tensor, const Owned& owned);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_SHARDING_H_
