// The name of the operation that first made a non-finite value (R11): found by running the text again with a
// probe.
#ifndef FUSIONTREE_ENGINE_FINITE_H_
#define FUSIONTREE_ENGINE_FINITE_H_

#include <cstdint>

#include "base/status.h"
#include "models/model.h"

namespace fusiontree::engine {

// Runs the `count` tokens again, the first `sequence->length()` or fewer of which it has seen, from an empty
// state: one answer, so the value comes again. The sequence is left as after them. Returns an error such as
// "the model made a non-finite value: layer 3, down_proj, position 17".
base::Status NameNonFinite(ops::Context& context, const models::Model& model, cache::SequenceState* sequence,
                           const int32_t* ids, int64_t count);

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_FINITE_H_
