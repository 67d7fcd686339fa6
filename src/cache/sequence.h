// What one sequence has left behind in the model: its length, for each group of heads its pages of keys and
// values, and one page of states that do not grow (a scan's, a convolution's).
#ifndef FUSIONTREE_CACHE_SEQUENCE_H_
#define FUSIONTREE_CACHE_SEQUENCE_H_

#include <cstdint>
#include <string>
#include <string_view>
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

  // The position in its text of the sequence's first token: 0, unless it was made by ContinueFrom.
  int64_t origin() const { return origin_; }
  // Begins this empty sequence at position `origin` of a text, with the states that the text so far has left
  // (StateBytes of the sequence that ran it) and none of its keys. Fails without memory for them.
  base::Status ContinueFrom(int64_t origin, const std::vector<std::byte>& states);
  // All states, whole; empty for a model that keeps none.
  std::vector<std::byte> StateBytes() const;

  // Makes room for `count` more positions and moves length() past them; pages that no later query can see are
  // given back first. All or nothing: on failure (no pages left) the state is as before.
  base::Status Extend(int64_t count);

  // Keeps the states as they are at length(), so that Truncate can come back to here; an earlier mark is
  // forgotten. Keys and values need no mark. Without states, or without memory for the copy, nothing happens.
  void Mark();
  int64_t marked() const { return mark_ ? mark_position_ : -1; }  // -1: nothing

  // Forgets positions >= p. Returns the deepest position <= p that can be restored: p itself, unless a
  // windowed group has already given back a page that a query there would see, or there are states and none
  // is marked at p; then the marked position, or 0, and the sequence is empty.
  int64_t Truncate(int64_t p);

  // Makes this empty sequence a copy of `other`, of the same pool; all or nothing.
  base::Status CopyFrom(const SequenceState& other);
  // Everything as bytes, and back into this empty sequence; the bytes must come from a pool of the same
  // layout. All or nothing.
  std::string Save() const;
  base::Status Restore(std::string_view bytes);

  // pages(group)[b] holds positions [64b, 64b + 64) of the group's layers; null once given back.
  const std::vector<std::byte*>& pages(size_t group) const { return pages_[group]; }
  // State number `index` of the layout, rows CacheLayout::StateStride apart. Zero at the start of a text.
  float* state(size_t index) const;
  const BlockPool& pool() const { return *pool_; }

 private:
  void Clear();
  void FreeUnseen(int64_t settled);
  bool Restorable(int64_t p) const;

  BlockPool* pool_;
  ClearFrom clear_from_;
  int64_t head_dim_;
  int64_t length_ = 0, origin_ = 0;
  std::vector<std::vector<std::byte*>> pages_;
  std::byte* states_ = nullptr;  // from the first Extend on
  std::byte* mark_ = nullptr;
  int64_t mark_position_ = 0;
};

}  // namespace fusiontree::cache

#endif  // FUSIONTREE_CACHE_SEQUENCE_H_
