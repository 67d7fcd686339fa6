// Pages of what sequences leave behind. A page of keys and values holds kKeyBlock (64) positions of one group
// of layers, for every KV head of the group on this rank: page -> layer of the group -> KV head -> one KV
// block of the kernel table. Heads that see the same window form a group, because their pages die together.
// What does not grow with the text (a scan's state, the last inputs of a convolution) lies in one more page a
// sequence.
#ifndef FUSIONTREE_CACHE_BLOCK_POOL_H_
#define FUSIONTREE_CACHE_BLOCK_POOL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/buffer.h"

namespace fusiontree::cache {

constexpr int64_t kPagePositions = 64;  // = kernels::kKeyBlock; part of the numerics policy
constexpr int64_t kStatePanel = 32;     // = kernels::kPanel
constexpr size_t kMarks = 1;            // states that a sequence keeps beside the present one

struct CacheLayout {
  struct Group {
    std::vector<int> layers;
    int64_t window = 0;    // 0: keys are seen for ever
    int64_t kv_heads = 0;  // of this rank, the same in each of the layers
  };
  std::vector<Group> groups;
  size_t block_bytes = 0;  // one KV block (64 positions of one head of one layer)

  // fp32 [rows, columns] of a layer, the same size for a text of any length; rows lie whole panels apart.
  struct State {
    std::string name;
    int layer = 0;
    int64_t rows = 0, columns = 0;
  };
  std::vector<State> states;

  struct Place {
    size_t group = 0, layer_in_group = 0;
  };
  // Of a layer's heads that see `window`; the layer must have some.
  Place GroupOf(int layer, int64_t window) const;
  // Floats from the state page's start to state `index`, and from one of its rows to the next.
  size_t StateOffset(size_t index) const;
  static size_t StateStride(const State& state);

  size_t PageBytes(size_t group) const;  // group = groups.size(): the state page (0 without states)
  // Bytes of cache that one sequence of `positions` holds at its longest, extended by at most `chunk` at a
  // time.
  size_t SequenceBytes(int64_t positions, int64_t chunk = 1) const;
  // Bytes of it that the next position reads: the pages that it sees and the states.
  size_t ReadBytes(int64_t positions) const;
};

// Hands out zeroed pages, live ones never above `max_bytes` in all. Memory comes in slabs as it is needed (a
// slab's pages take physical memory when first touched) and is kept for reuse by its group. Not thread-safe:
// one owner (the step loop).
class BlockPool {
 public:
  BlockPool(CacheLayout layout, size_t max_bytes);

  const CacheLayout& layout() const { return layout_; }
  // A page of `group` (groups.size(): of states), every byte zero; null when the budget or the memory is
  // exhausted.
  std::byte* Allocate(size_t group);
  void Free(size_t group, std::byte* page);  // null is allowed and does nothing

  size_t bytes_live() const { return bytes_live_; }
  size_t bytes_held() const { return bytes_held_; }  // live + free
  size_t max_bytes() const { return max_bytes_; }
  // Empty when free + live equals held for every group, else what does not add up.
  std::string CheckBooks() const;

 private:
  struct GroupPool {
    std::vector<std::byte*> free;
    int64_t live = 0;
    int64_t total = 0;
  };
  CacheLayout layout_;
  size_t max_bytes_;
  size_t bytes_live_ = 0, bytes_held_ = 0;
  std::vector<GroupPool> groups_;
  std::vector<tensor::Buffer> slabs_;
};

}  // namespace fusiontree::cache

#endif  // FUSIONTREE_CACHE_BLOCK_POOL_H_
