// What the layers of one forward share of the sequences' states.
#ifndef FUSIONTREE_NN_STATE_VIEW_H_
#define FUSIONTREE_NN_STATE_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/batch.h"
#include "ops/sequence.h"

namespace fusiontree::nn {

constexpr size_t kNoState = SIZE_MAX;  // of a convolution that keeps nothing

// The spans of `batch` with state number `index` of the cache layout.
std::vector<ops::StateSpan> StatesOfBatch(const cache::Batch& batch, size_t index);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_STATE_VIEW_H_
