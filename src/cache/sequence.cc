#include "cache/sequence.h"

#include <utility>

namespace fusiontree::cache {
namespace {

// First page that a query at position p or later can see.
int64_t FirstVisiblePage(int64_t p, int64_t window) {
  if (window == 0 || p - window + 1 <= 0) return 0;
  return (p - window + 1) / kPagePositions;
}

}  // namespace

SequenceState::SequenceState(BlockPool* pool, ClearFrom clear_from, int64_t head_dim)
    : pool_(pool), clear_from_(clear_from), head_dim_(head_dim), pages_(pool->layout().groups.size()) {}

SequenceState::SequenceState(SequenceState&& other)
    : pool_(other.pool_),
      clear_from_(other.clear_from_),
      head_dim_(other.head_dim_),
      length_(other.length_),
      pages_(std::move(other.pages_)) {
  other.length_ = 0;
  other.pages_.assign(pages_.size(), {});
}

SequenceState::~SequenceState() { Truncate(0); }

base::Status SequenceState::Extend(int64_t count) {
  FT_CHECK(count >= 1);
  const int64_t pages = (length_ + count + kPagePositions - 1) / kPagePositions;
  for (size_t g = 0; g < pages_.size(); ++g) {
    const int64_t first = FirstVisiblePage(length_, pool_->layout().groups[g].window);
    for (int64_t b = first - 1; b >= 0 && pages_[g][static_cast<size_t>(b)] != nullptr; --b) {
      pool_->Free(g, pages_[g][static_cast<size_t>(b)]);
      pages_[g][static_cast<size_t>(b)] = nullptr;
    }
  }
  const int64_t before = (length_ + kPagePositions - 1) / kPagePositions;
  for (size_t g = 0; g < pages_.size(); ++g) {
    while (static_cast<int64_t>(pages_[g].size()) < pages) {
      std::byte* page = pool_->Allocate(g);
      if (page == nullptr) {
        for (size_t back = 0; back <= g; ++back) {
          while (static_cast<int64_t>(pages_[back].size()) > before) {
            pool_->Free(back, pages_[back].back());
            pages_[back].pop_back();
          }
        }
        return base::Failed("the key/value cache is full: {} bytes hold no page for position {}",
                            pool_->max_bytes(), length_ + count - 1);
      }
      pages_[g].push_back(page);
    }
  }
  length_ += count;
  return base::OkStatus();
}

int64_t SequenceState::Truncate(int64_t p) {
  FT_CHECK(p >= 0 && p <= length_);
  const CacheLayout& layout = pool_->layout();
  for (size_t g = 0; g < pages_.size() && p > 0; ++g) {
    const int64_t first = FirstVisiblePage(p, layout.groups[g].window);
    if (first * kPagePositions < p && pages_[g][static_cast<size_t>(first)] == nullptr) p = 0;
  }
  const int64_t keep = (p + kPagePositions - 1) / kPagePositions;
  for (size_t g = 0; g < pages_.size(); ++g) {
    while (static_cast<int64_t>(pages_[g].size()) > keep) {
      pool_->Free(g, pages_[g].back());
      pages_[g].pop_back();
    }
    if (p % kPagePositions == 0 || pages_[g].back() == nullptr) continue;
    const size_t blocks = layout.PageBytes(g) / layout.block_bytes;
    for (size_t i = 0; i < blocks; ++i)
      clear_from_(pages_[g].back() + i * layout.block_bytes, p % kPagePositions, head_dim_);
  }
  length_ = p;
  return p;
}

}  // namespace fusiontree::cache
