// The ragged batch of one forward: any mix of prefill chunks and decode rows of many sequences. There is no
// other way through a model.
#ifndef FUSIONTREE_CACHE_BATCH_H_
#define FUSIONTREE_CACHE_BATCH_H_

#include <cstdint>
#include <vector>

#include "cache/sequence.h"

namespace fusiontree::cache {

struct Span {
  SequenceState* sequence;  // already extended by `count`: length() == first_position + count
  int64_t first_row;        // of the batch
  int64_t first_position;   // in the sequence: where its keys lie
  int64_t count;            // rows, >= 1

  // In the text, which may have begun before the sequence did.
  int64_t text_position() const { return sequence->origin() + first_position; }
};

struct Batch {
  std::vector<int32_t> ids;  // [T], spans in order, without gaps
  std::vector<Span> spans;   // a sequence at most once

  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
  // Extends `sequence` by the tokens and appends them as a span. On failure nothing has changed.
  base::Status Add(SequenceState* sequence, const int32_t* tokens, int64_t count);
};

}  // namespace fusiontree::cache

#endif  // FUSIONTREE_CACHE_BATCH_H_
