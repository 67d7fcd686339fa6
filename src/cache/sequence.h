// What one sequence has left behind in the model: its length and, for each group of layers, its pages.
#ifndef FUSIONTREE_CACHE_SEQUENCE_H_
#define FUSIONTREE_CACHE_SEQUENCE_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "cache/block_pool.h"

namespace fusiontree::cache {

// Owned by whoever runs the sequence; gives its pages back on destruction, so the pool must outlive it.
class SequenceState {
 public:
  // `clear_from(block, slot)` sets the slots from `slot` on of one KV block to zero, as if never written.
  using ClearFrom = void (*)(void* block, int64_t slot, int64_t head_dim);
  SequenceState(BlockPool* pool, ClearFrom clear_from, int64_t head_dim);
  virtual ~SequenceState();
  SequenceState(SequenceState&& other);  // leaves `other` empty
  SequenceState(const SequenceState&) = delete;
  SequenceState& operator=(const SequenceState&) = delete;

  // Positions whose keys and values are (or are about to be) written: the position of the next token.
  int64_t length() const { return length_; }

  // Makes room for `count` more positions and moves length() past them; pages that no later query can see are
  // given back first. All or nothing: on failure (no pages left) the state is as before.
  base::Status Extend(int64_t count);

  // Forgets positions >= p. Returns the deepest position <= p that can be restored: p itself, unless a
  // windowed group has already given back a page that a query at p would see; then 0, and the state is empty.
  int64_t Truncate(int64_t p);

  // pages(group)[b] holds positions [64b, 64b + 64) of the group's layers; null once given back.
  const std::vector<std::byte*>& pages(size_t group) const { return pages_[group]; }
  const BlockPool& pool() const { return *pool_; }

 private:
  BlockPool* pool_;
  ClearFrom clear_from_;
  int64_t head_dim_;
  int64_t length_ = 0;
  std::vector<std::vector<std::byte*>> pages_;
};

}  // namespace fusiontree::cache

#endif  // FUSIONTREE_CACHE_SEQUENCE_H_
