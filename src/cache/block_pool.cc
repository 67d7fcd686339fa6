#include "cache/block_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace fusiontree::cache {
namespace {

constexpr size_t kSlabBytes = size_t{8} << 20;  // a few pages at once, in huge pages

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t CacheLayout::num_layers() const {
  int64_t n = 0;
  for (const Group& group : groups) n += static_cast<int64_t>(group.layers.size());
  return n;
}

size_t CacheLayout::PageBytes(size_t group) const {
  return groups[group].layers.size() * static_cast<size_t>(kv_heads) * block_bytes;
}

size_t CacheLayout::SequenceBytes(int64_t positions, int64_t chunk) const {
  size_t bytes = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    int64_t pages = CeilDiv(positions, kPagePositions);
    // A chunk sees the window before its first row; a stretch that starts inside a page touches one page
    // more.
    if (groups[g].window > 0) pages = std::min(pages, CeilDiv(groups[g].window + chunk, kPagePositions) + 1);
    bytes += static_cast<size_t>(pages) * PageBytes(g);
  }
  return bytes;
}

BlockPool::BlockPool(CacheLayout layout, size_t max_bytes)
    : layout_(std::move(layout)), max_bytes_(max_bytes), groups_(layout_.groups.size()) {}

std::byte* BlockPool::Allocate(size_t group) {
  GroupPool& pool = groups_[group];
  const size_t page = layout_.PageBytes(group);
  if (bytes_live_ + page > max_bytes_) return nullptr;
  if (pool.free.empty()) {
    const size_t count = std::clamp<size_t>(kSlabBytes / page, 1, (max_bytes_ - bytes_live_) / page);
    base::Result<tensor::Buffer> slab = tensor::Buffer::Create(count * page);
    if (!slab.ok()) return nullptr;
    slabs_.push_back(std::move(slab).value());
    // Taken from the back, so that pages are used in ascending order. A fresh slab is zero already.
    for (size_t i = count; i-- > 0;) pool.free.push_back(slabs_.back().data() + i * page);
    pool.total += static_cast<int64_t>(count);
    bytes_held_ += count * page;
  }
  std::byte* result = pool.free.back();
  pool.free.pop_back();
  ++pool.live;
  bytes_live_ += page;
  return result;
}

void BlockPool::Free(size_t group, std::byte* page) {
  if (page == nullptr) return;
  std::memset(page, 0, layout_.PageBytes(group));  // slots never written hold zero (R4)
  groups_[group].free.push_back(page);
  --groups_[group].live;
  bytes_live_ -= layout_.PageBytes(group);
}

std::string BlockPool::CheckBooks() const {
  size_t live = 0, held = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const GroupPool& pool = groups_[g];
    const int64_t free = static_cast<int64_t>(pool.free.size());
    if (pool.live < 0 || free + pool.live != pool.total)
      return fmt::format("group {}: {} free + {} live is not {} in all", g, free, pool.live, pool.total);
    live += static_cast<size_t>(pool.live) * layout_.PageBytes(g);
    held += static_cast<size_t>(pool.total) * layout_.PageBytes(g);
  }
  if (live != bytes_live_ || held != bytes_held_ || live > max_bytes_)
    return fmt::format("{} bytes live and {} held are booked as {} and {} of at most {}", live, held,
                       bytes_live_, bytes_held_, max_bytes_);
  return "";
}

}  // namespace fusiontree::cache
