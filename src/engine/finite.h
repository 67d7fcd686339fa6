// The name of the operation that first made a non-finite value (R11): found by running the rows again with a
// probe.
#ifndef FUSIONTREE_ENGINE_FINITE_H_
#define FUSIONTREE_ENGINE_FINITE_H_

#include "base/status.h"
#include "models/model.h"

namespace fusiontree::engine {

// Runs `batch` again, which writes the same keys and values again, and returns an error such as "the model
// made a non-finite value: layer 3, down_proj, row 17".
base::Status NameNonFinite(ops::Context& context, const models::Model& model, const cache::Batch& batch);

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_FINITE_H_
