// A model cut over ranks, as rank 0's commands see it, and the loop in which the other ranks follow.
//
// Rank 0 decides everything: the batch, the sequences' pages, when a sequence is cut back or dropped. It tells the
// others in one record before each forward; they replay it on pages of their own KV heads and compare what came of it.
#ifndef FUSIONTREE_MODELS_DISTRIBUTED_H_
#define FUSIONTREE_MODELS_DISTRIBUTED_H_

#include <memory>

#include "models/model.h"

namespace fusiontree::models {

// Rank 0: `shard` is its own part, loaded with a context of several ranks.
std::unique_ptr<Model> MakeDistributed(std::unique_ptr<Model> shard, ops::Context& context);

// The others: takes part in every forward of rank 0's model, until that is destroyed or a rank fails.
base::Status FollowModel(const Model& shard, ops::Context& context);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DISTRIBUTED_H_
