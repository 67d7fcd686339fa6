#include "cache/block_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace fusiontree::cache {
namespace {

constexpr size_t kSlabBytes = size_t{8} << 20;  // a few pages at once, in huge pages

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

CacheLayout::Place CacheLayout::GroupOf(int layer, int64_t window) const {
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<int>& layers = groups[g].layers;
    const auto found = std::find(layers.begin(), layers.end(), layer);
    if (groups[g].window == window && found != layers.end())
      return {g, static_cast<size_t>(found - layers.begin())};
  }
  FT_CHECK(false);
  return {};
}

size_t CacheLayout::StateStride(const State& state) {
  return static_cast<size_t>((state.columns + kStatePanel - 1) / kStatePanel * kStatePanel);
}

size_t CacheLayout::StateOffset(size_t index) const {
  size_t floats = 0;
  for (size_t i = 0; i < index; ++i) floats += static_cast<size_t>(states[i].rows) * StateStride(states[i]);
  return floats;
}

size_t CacheLayout::PageBytes(size_t group) const {
  if (group == groups.size()) return StateOffset(states.size()) * sizeof(float);
  return groups[group].layers.size() * static_cast<size_t>(groups[group].kv_heads) * block_bytes;
}

size_t CacheLayout::SequenceBytes(int64_t positions, int64_t chunk) const {
  size_t bytes = (1 + kMarks) * PageBytes(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    int64_t pages = CeilDiv(positions, kPagePositions);
    // A chunk sees the window before its first row; a stretch that starts inside a page touches one page
    // more.
    if (groups[g].window > 0) {
      int64_t most = CeilDiv(groups[g].window + chunk, kPagePositions) + 1;
      if (!states.empty())
        most += static_cast<int64_t>(kMarks) * (CeilDiv(groups[g].window, kPagePositions) + 1);
      pages = std::min(pages, most);
    }
    bytes += static_cast<size_t>(pages) * PageBytes(g);
  }
  return bytes;
}

size_t CacheLayout::ReadBytes(int64_t positions) const {
  size_t bytes = PageBytes(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    const int64_t seen = groups[g].window > 0 ? std::min(groups[g].window, positions) : positions;
    bytes += static_cast<size_t>(CeilDiv(seen, kPagePositions)) * PageBytes(g);
  }
  return bytes;
}

BlockPool::BlockPool(CacheLayout layout, size_t max_bytes)
    : layout_(std::move(layout)), max_bytes_(max_bytes), groups_(layout_.groups.size() + 1) {}

std::byte* BlockPool::Allocate(size_t group) {
  GroupPool& pool = groups_[group];
  const size_t page = layout_.PageBytes(group);
  FT_CHECK(page > 0);
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
