// Token texts by id and ids by text; every text lies once in one arena.
#ifndef FUSIONTREE_TOKENIZER_VOCABULARY_H_
#define FUSIONTREE_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fusiontree::tokenizer {

// Well-spread 64 bits of up to a few dozen bytes, eight at a time.
inline uint64_t HashBytes(std::string_view bytes) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio, odd
  uint64_t hash = bytes.size() * kMultiplier;
  const char* p = bytes.data();
  size_t left = bytes.size();
  uint64_t block;
  for (; left >= 8; left -= 8, p += 8) {
    std::memcpy(&block, p, 8);
    hash = (hash ^ block) * kMultiplier;
    hash ^= hash >> 32;
  }
  block = 0;
  std::memcpy(&block, p, left);
  hash = (hash ^ block) * kMultiplier;
  return hash ^ hash >> 29;
}

class Vocabulary {
 public:
  // Ids need not be dense, but a hole may not be larger than all that is there (a typing error would
  // otherwise cost gigabytes): kMaxId.
  static constexpr int64_t kMaxId = (1 << 24) - 1;

  // Error when the id or the text is there already, or the id is negative or above kMaxId. With `findable`
  // false the text is kept for decoding only: Find does not see it and it may repeat.
  base::Status Add(std::string_view text, int64_t id, bool findable = true);
  void Reserve(size_t tokens);

  // -1 when there is none.
  int32_t Find(std::string_view text) const;
  bool Has(int64_t id) const { return id >= 0 && id < size() && entries_[id].length >= 0; }
  // Empty for an id that is not there.
  std::string_view Text(int32_t id) const {
    return Has(id) ? std::string_view(arena_).substr(entries_[id].begin, entries_[id].length)
                   : std::string_view();
  }
  // One more than the highest id.
  int32_t size() const { return static_cast<int32_t>(entries_.size()); }
  size_t longest() const { return longest_; }  // bytes of the longest findable text

 private:
  struct Entry {
    size_t begin = 0;
    int32_t length = -1;
  };
  void Insert(int32_t id);
  void Grow(size_t slots);

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<int32_t> slots_;  // open addressing, a power of two; -1 is free
  size_t used_ = 0;
  size_t longest_ = 0;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_VOCABULARY_H_
