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

// The states of one layer as they are now, to come back to. Those of new sequences, all zero, take no memory.
class SavedLayerStates {
 public:
  SavedLayerStates(const cache::Batch& batch, int layer);
  void Restore() const;

 private:
  struct Saved {
    float* state;
    size_t floats;
    std::vector<float> values;  // empty: zeros
  };
  std::vector<Saved> states_;
};

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_STATE_VIEW_H_
