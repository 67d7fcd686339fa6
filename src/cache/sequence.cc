#include "cache/sequence.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace fusiontree::cache {
namespace {

// First page that a query at position p or later can see.
int64_t FirstVisiblePage(int64_t p, int64_t window) {
  if (window == 0 || p - window + 1 <= 0) return 0;
  return (p - window + 1) / kPagePositions;
}

int64_t PagesFor(int64_t positions) { return (positions + kPagePositions - 1) / kPagePositions; }

// Start of saved bytes.
struct SavedHeader {
  char magic[8];
  uint64_t layout;  // hash of the layout
  int64_t length;
};
constexpr char kMagic[8] = {'F', 'T', 's', 't', 'a', 't', 'e', '1'};

uint64_t LayoutHash(const CacheLayout& layout) {
  std::string text = std::to_string(layout.block_bytes);
  for (const CacheLayout::Group& group : layout.groups) {
    text += "|" + std::to_string(group.window) + "," + std::to_string(group.kv_heads);
    for (const int layer : group.layers) text += "," + std::to_string(layer);
  }
  for (const CacheLayout::State& state : layout.states)
    text += "|" + state.name + "," + std::to_string(state.layer) + "," + std::to_string(state.rows) + "," +
            std::to_string(state.columns);
  return base::Hash(text);
}

}  // namespace

SequenceState::SequenceState(BlockPool* pool, ClearFrom clear_from, int64_t head_dim)
    : pool_(pool), clear_from_(clear_from), head_dim_(head_dim), pages_(pool->layout().groups.size()) {}

SequenceState::SequenceState(SequenceState&& other)
    : pool_(other.pool_),
      clear_from_(other.clear_from_),
      head_dim_(other.head_dim_),
      length_(other.length_),
      origin_(other.origin_),
      pages_(std::move(other.pages_)),
      states_(std::exchange(other.states_, nullptr)),
      mark_(std::exchange(other.mark_, nullptr)),
      mark_position_(other.mark_position_) {
  other.length_ = 0;
  other.pages_.assign(pages_.size(), {});
}

SequenceState::~SequenceState() { Clear(); }

void SequenceState::Clear() {
  for (size_t g = 0; g < pages_.size(); ++g) {
    for (std::byte* page : pages_[g]) pool_->Free(g, page);
    pages_[g].clear();
  }
  pool_->Free(pages_.size(), std::exchange(states_, nullptr));
  pool_->Free(pages_.size(), std::exchange(mark_, nullptr));
  length_ = 0;
  origin_ = 0;
}

base::Status SequenceState::ContinueFrom(int64_t origin, const std::vector<std::byte>& states) {
  FT_CHECK(length_ == 0 && states_ == nullptr && origin >= 0);
  const size_t bytes = pool_->layout().PageBytes(pages_.size());
  FT_CHECK(states.size() == bytes);
  if (bytes > 0 && (states_ = pool_->Allocate(pages_.size())) == nullptr)
    return base::Failed("the key/value cache is full: {} bytes hold no page of states", pool_->max_bytes());
  if (bytes > 0) std::memcpy(states_, states.data(), bytes);
  origin_ = origin;
  return base::OkStatus();
}

std::vector<std::byte> SequenceState::StateBytes() const {
  if (states_ == nullptr) return {};
  return {states_, states_ + pool_->layout().PageBytes(pages_.size())};
}

base::Status SequenceState::Extend(int64_t count) {
  FT_CHECK(count >= 1);
  const auto full = [&] {
    return base::Failed("the key/value cache is full: {} bytes hold no page for position {}",
                        pool_->max_bytes(), length_ + count - 1);
  };
  const bool fresh = states_ == nullptr && !pool_->layout().states.empty();
  if (fresh && (states_ = pool_->Allocate(pages_.size())) == nullptr) return full();
  FreeUnseen(length_ + count);
  const int64_t before = PagesFor(length_), pages = PagesFor(length_ + count);
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
        if (fresh) pool_->Free(pages_.size(), std::exchange(states_, nullptr));
        return full();
      }
      pages_[g].push_back(page);
    }
  }
  length_ += count;
  return base::OkStatus();
}

// Gives back what neither a query at length() or later nor one at the mark can see. A page below `settled`
// that is gone already has nothing below it.
void SequenceState::FreeUnseen(int64_t settled) {
  for (size_t g = 0; g < pages_.size(); ++g) {
    const int64_t window = pool_->layout().groups[g].window;
    const int64_t kept_begin = mark_ ? FirstVisiblePage(mark_position_, window) : 0;
    const int64_t kept_end = mark_ ? PagesFor(mark_position_) : 0;
    for (int64_t b = FirstVisiblePage(length_, window) - 1; b >= 0; --b) {
      if (b < kept_end && b >= kept_begin) continue;
      std::byte*& page = pages_[g][static_cast<size_t>(b)];
      if (page == nullptr && b < settled) break;
      pool_->Free(g, std::exchange(page, nullptr));
    }
  }
}

void SequenceState::Mark() {
  if (states_ == nullptr) return;
  const int64_t before = mark_ ? mark_position_ : length_;
  if (mark_ == nullptr) mark_ = pool_->Allocate(pages_.size());
  if (mark_ == nullptr) return;
  std::memcpy(mark_, states_, pool_->layout().PageBytes(pages_.size()));
  mark_position_ = length_;
  FreeUnseen(PagesFor(before));  // what only the old mark saw
}

bool SequenceState::Restorable(int64_t p) const {
  for (size_t g = 0; g < pages_.size(); ++g) {
    const int64_t first = FirstVisiblePage(p, pool_->layout().groups[g].window);
    if (first * kPagePositions < p && pages_[g][static_cast<size_t>(first)] == nullptr) return false;
  }
  return true;
}

int64_t SequenceState::Truncate(int64_t p) {
  FT_CHECK(p >= 0 && p <= length_);
  if (p == length_) return p;
  if (states_ != nullptr) p = mark_ != nullptr && mark_position_ <= p ? mark_position_ : 0;
  if (p == 0 || !Restorable(p)) {
    Clear();
    return 0;
  }
  const CacheLayout& layout = pool_->layout();
  if (states_ != nullptr) std::memcpy(states_, mark_, layout.PageBytes(pages_.size()));
  for (size_t g = 0; g < pages_.size(); ++g) {
    while (static_cast<int64_t>(pages_[g].size()) > PagesFor(p)) {
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

base::Status SequenceState::CopyFrom(const SequenceState& other) {
  FT_CHECK(pool_ == other.pool_ && length_ == 0 && states_ == nullptr);
  const auto copy = [&](size_t group, const std::byte* from, std::byte** to) {
    *to = nullptr;
    if (from == nullptr) return true;
    *to = pool_->Allocate(group);
    if (*to == nullptr) return false;
    std::memcpy(*to, from, pool_->layout().PageBytes(group));
    return true;
  };
  bool ok = copy(pages_.size(), other.states_, &states_) && copy(pages_.size(), other.mark_, &mark_);
  for (size_t g = 0; g < pages_.size() && ok; ++g) {
    for (size_t b = 0; b < other.pages_[g].size() && ok; ++b) {
      pages_[g].push_back(nullptr);
      ok = copy(g, other.pages_[g][b], &pages_[g].back());
    }
  }
  if (!ok) {
    Clear();
    return base::Failed("the key/value cache is full: {} bytes do not hold a copy of {} positions",
                        pool_->max_bytes(), other.length_);
  }
  length_ = other.length_;
  mark_position_ = other.mark_position_;
  return base::OkStatus();
}

std::string SequenceState::Save() const {
  const CacheLayout& layout = pool_->layout();
  SavedHeader header{{}, LayoutHash(layout), length_};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  std::string out(reinterpret_cast<const char*>(&header), sizeof(header));
  const auto put = [&](const std::byte* page, size_t bytes) {
    out.push_back(page != nullptr);
    if (page != nullptr) out.append(reinterpret_cast<const char*>(page), bytes);
  };
  put(states_, layout.PageBytes(pages_.size()));
  for (size_t g = 0; g < pages_.size(); ++g)
    for (const std::byte* page : pages_[g]) put(page, layout.PageBytes(g));
  return out;
}

base::Status SequenceState::Restore(std::string_view bytes) {
  FT_CHECK(length_ == 0 && states_ == nullptr);
  SavedHeader header;
  if (bytes.size() < sizeof(header))
    return base::BadInput("a saved state of {} bytes is cut short: its header has {}", bytes.size(),
                          sizeof(header));
  std::memcpy(&header, bytes.data(), sizeof(header));
  bytes.remove_prefix(sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    return base::BadInput("these bytes are not a saved state");
  if (header.layout != LayoutHash(pool_->layout()))
    return base::BadInput("the saved state is of another model, or of other types or ranks");
  const auto fail = [&](base::Status status) {
    Clear();
    return status;
  };
  const auto take = [&](size_t group, std::byte** page) {
    *page = nullptr;
    const size_t size = pool_->layout().PageBytes(group);
    const bool present = !bytes.empty() && bytes[0] != 0;
    if (bytes.size() < 1 + (present ? size : 0))
      return base::BadInput("the saved state is cut short: a page of {} bytes is missing", size);
    bytes.remove_prefix(1);
    if (!present) return base::OkStatus();
    if (size == 0 || (*page = pool_->Allocate(group)) == nullptr)
      return base::Failed("the key/value cache is full: {} bytes do not hold the saved state",
                          pool_->max_bytes());
    std::memcpy(*page, bytes.data(), size);
    bytes.remove_prefix(size);
    return base::OkStatus();
  };
  const int64_t most = static_cast<int64_t>(bytes.size()) * kPagePositions;  // a byte a page at least
  if (header.length < 0 || (header.length > most && !pages_.empty()))
    return base::BadInput("the saved state says that it has {} positions", header.length);
  base::Status status = take(pages_.size(), &states_);
  if (status.ok() && (states_ != nullptr) != (header.length > 0 && !pool_->layout().states.empty()))
    status = base::BadInput("the saved state of {} positions has no page of states", header.length);
  for (size_t g = 0; g < pages_.size() && status.ok(); ++g) {
    for (int64_t b = 0; b < PagesFor(header.length) && status.ok(); ++b) {
      pages_[g].push_back(nullptr);
      status = take(g, &pages_[g].back());
    }
  }
  if (!status.ok()) return fail(status);
  if (!bytes.empty())
    return fail(base::BadInput("the saved state is followed by {} bytes that are not its own", bytes.size()));
  for (size_t g = 0; g < pages_.size(); ++g) {
    const int64_t first = FirstVisiblePage(header.length, pool_->layout().groups[g].window);
    for (int64_t b = first; b < PagesFor(header.length); ++b)
      if (pages_[g][static_cast<size_t>(b)] == nullptr)
        return fail(base::BadInput("the saved state lacks the keys of positions {} to {}", b * kPagePositions,
                                   (b + 1) * kPagePositions - 1));
  }
  length_ = header.length;
  return base::OkStatus();
}

float* SequenceState::state(size_t index) const {
  return reinterpret_cast<float*>(states_) + pool_->layout().StateOffset(index);
}

}  // namespace fusiontree::cache
