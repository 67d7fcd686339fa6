// A model cut over ranks, as rank 0's commands see it, and the loop in which the other ranks follow.
//
// Rank 0 decides everything: the batch, the sequences' pages, when a sequence is cut back or dropped. It
// tells the others in one record before each forward; they replay it on pages of their own KV heads and
// compare what came of it.
#ifndef FUSIONTREE_MODELS_DISTRIBUTED_H_
#define FUSIONTREE_MODELS_DISTRIBUTED_H_

#include <functional>
#include <memory>

#include "models/model.h"
#include "parallel/record.h"

namespace fusiontree::models {

// Rank 0: `shard` is its own part, loaded with a context of several ranks; the bytes are those of all ranks.
std::unique_ptr<Model> MakeDistributed(std::unique_ptr<Model> shard, size_t weight_bytes,
                                       size_t streamed_bytes, ops::Context& context);

// The others: takes part in every forward of rank 0's model, until that is destroyed or a rank fails. Records
// of other kinds go to `other`.
base::Status FollowModel(const Model& shard, ops::Context& context,
                         const std::function<base::Status(const parallel::Record&)>& other);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DISTRIBUTED_H_
