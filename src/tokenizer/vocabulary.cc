#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <bit>

namespace fusiontree::tokenizer {

base::Status Vocabulary::Add(std::string_view text, int64_t id, bool findable) {
  if (id < 0 || id > kMaxId)
    return base::BadInput("token \"{}\" has the id {}, expected 0 to {}", text, id, kMaxId);
  if (Has(id))
    return base::BadInput("tokens \"{}\" and \"{}\" have the same id {}", Text(static_cast<int32_t>(id)),
                          text, id);
  if (findable && Find(text) >= 0) return base::BadInput("token \"{}\" is twice in the vocabulary", text);
  if (id >= size()) entries_.resize(id + 1);
  entries_[id] = {arena_.size(), static_cast<int32_t>(text.size())};
  arena_ += text;
  if (!findable) return base::OkStatus();
  longest_ = std::max(longest_, text.size());
  if ((used_ + 1) * 2 > slots_.size()) Grow(std::max<size_t>(64, slots_.size() * 2));
  Insert(static_cast<int32_t>(id));
  return base::OkStatus();
}

void Vocabulary::Reserve(size_t tokens) {
  entries_.reserve(tokens);
  const size_t slots = std::bit_ceil(tokens * 2 + 2);
  if (slots > slots_.size()) Grow(slots);
}

int32_t Vocabulary::Find(std::string_view text) const {
  if (slots_.empty()) return -1;
  const size_t mask = slots_.size() - 1;
  for (size_t slot = HashBytes(text) & mask;; slot = (slot + 1) & mask) {
    const int32_t id = slots_[slot];
    if (id < 0 || Text(id) == text) return id;
  }
}

void Vocabulary::Insert(int32_t id) {
  const size_t mask = slots_.size() - 1;
  size_t slot = HashBytes(Text(id)) & mask;
  while (slots_[slot] >= 0) slot = (slot + 1) & mask;
  slots_[slot] = id;
  ++used_;
}

void Vocabulary::Grow(size_t slots) {
  const std::vector<int32_t> old = std::move(slots_);
  slots_.assign(slots, -1);
  used_ = 0;
  for (const int32_t id : old)
    if (id >= 0) Insert(id);
}

}  // namespace fusiontree::tokenizer
