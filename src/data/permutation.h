// Random orders without a shuffle: element i of a permutation of [0, n) computed by itself.
#ifndef FUSIONTREE_DATA_PERMUTATION_H_
#define FUSIONTREE_DATA_PERMUTATION_H_

#include <cstdint>

namespace fusiontree::data {

// A Feistel network of eight rounds whose function is Philox, on the least 2^k >= n, walked until it falls
// below n (fewer than two steps on average). `key` and `stream` name the permutation. Immutable.
class Permutation {
 public:
  Permutation(uint64_t n, uint64_t key, uint64_t stream);

  // Where i goes; i < n.
  uint64_t operator()(uint64_t i) const;

 private:
  uint64_t n_, key_, stream_;
  int low_bits_, high_bits_;  // of the two halves
};

// A key for one purpose of a seed, so that purposes draw apart.
uint64_t KeyFor(uint64_t seed, uint64_t purpose, uint64_t index = 0);

// What is drawn by KeyFor in this folder. A value never changes: data order is part of a run's bits.
enum Purpose : uint64_t {
  kHeldOut = 1,
  kEpochOrder = 2,
  kMixture = 3,
  kRecallPairs = 4,
  kRecallGaps = 5,
  kRecallNoise = 6,
  kNeedle = 7,
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_PERMUTATION_H_
