// Generated tasks that only a memory solves, as rows: each a function of (options, seed, row number) alone.
#ifndef FUSIONTREE_DATA_RECALL_H_
#define FUSIONTREE_DATA_RECALL_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "data/row.h"

namespace fusiontree::data {

// Multi-query associative recall (Arora et al., "Zoology", 2023). A row begins with `pairs` keys, each
// followed by its value; then at even places each key comes once more, in any order, and its value is the
// target there; there are no other targets. Keys are different ids of [1, V/2), values of [V/2, V). Of the
// `space` even places the i-th, i from 1, is drawn with a weight of i^(power - 1), so that most queries come
// soon. Whoever only knows which values there are is right in 1 of `pairs` cases.
struct RecallOptions {
  int32_t vocab_size = 256;
  int32_t pairs = 16;
  int32_t length = 128;  // even, at least 4 a pair
  double power = 0.01;
  bool noise = true;  // what is neither pair nor query: random ids of the vocabulary; otherwise 0
};

class RecallTask {
 public:
  static base::Result<RecallTask> Make(const RecallOptions& options, uint64_t seed);
  Row Generate(int64_t row) const;

 private:
  RecallTask(const RecallOptions& options, uint64_t seed) : options_(options), seed_(seed) {}
  RecallOptions options_;
  uint64_t seed_;
  std::vector<double> weights_;  // of each even place behind the pairs
};

// A needle in a haystack: random ids of [V/2, V), and somewhere among them a key of [1, V/2) with a value
// behind it. The row ends with the key, whose value is the only target.
struct NeedleOptions {
  int32_t vocab_size = 256;
  int32_t length = 1024;  // at least 3
  double depth = -1;      // of the key: 0 at the beginning, 1 right before the question; negative: drawn
};

class NeedleTask {
 public:
  static base::Result<NeedleTask> Make(const NeedleOptions& options, uint64_t seed);
  Row Generate(int64_t row) const;

 private:
  NeedleTask(const NeedleOptions& options, uint64_t seed) : options_(options), seed_(seed) {}
  NeedleOptions options_;
  uint64_t seed_;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_RECALL_H_
