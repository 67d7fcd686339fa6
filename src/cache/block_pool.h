// Pages of keys and values. A page holds kKeyBlock (64) positions of one group of layers, for every KV head
// of this rank: page -> layer of the group -> KV head -> one KV block of the kernel table. Layers that see
// the same window form a group, because their pages die together.
#ifndef FUSIONTREE_CACHE_BLOCK_POOL_H_
#define FUSIONTREE_CACHE_BLOCK_POOL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/buffer.h"

namespace fusiontree::cache {

constexpr int64_t kPagePositions = 64;  // = kernels::kKeyBlock; part of the numerics policy

struct CacheLayout {
  struct Group {
    std::vector<int> layers;
    int64_t window = 0;  // 0: keys are seen for ever
  };
  std::vector<Group> groups;
  int64_t kv_heads = 0;    // of this rank
  size_t block_bytes = 0;  // one KV block (64 positions of one head of one layer)

  int64_t num_layers() const;
  size_t PageBytes(size_t group) const;
  // Bytes of cache that one sequence of `positions` holds at its longest, extended by at most `chunk` at a
  // time.
  size_t SequenceBytes(int64_t positions, int64_t chunk = 1) const;
};

// Hands out zeroed pages, live ones never above `max_bytes` in all. Memory comes in slabs as it is needed (a
// slab's pages take physical memory when first touched) and is kept for reuse by its group. Not thread-safe:
// one owner (the step loop).
class BlockPool {
 public:
  BlockPool(CacheLayout layout, size_t max_bytes);

  const CacheLayout& layout() const { return layout_; }
  // A page of `group`, every byte zero; null when the budget or the memory is exhausted.
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
