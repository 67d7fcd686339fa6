// The baseline that a model must beat: a byte 5-gram with interpolated Kneser-Ney smoothing (Kneser and Ney
// 1995; the interpolated form of Chen and Goodman 1998, one discount an order).
#ifndef FUSIONTREE_DATA_NGRAM_H_
#define FUSIONTREE_DATA_NGRAM_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fusiontree::data {

// Open addressing by a key of at most 40 bits.
template <typename Value>
class GramTable {
 public:
  GramTable() : slots_(1 << 10) {}
  Value& At(uint64_t key) {
    if (2 * (used_ + 1) > slots_.size()) Grow();
    Slot& slot = slots_[Place(key)];
    if (slot.key == kFree) {
      slot.key = key;
      ++used_;
    }
    return slot.value;
  }
  const Value* Find(uint64_t key) const {
    const Slot& slot = slots_[Place(key)];
    return slot.key == kFree ? nullptr : &slot.value;
  }
  size_t size() const { return used_; }
  template <typename F>
  void ForEach(F f) const {
    for (const Slot& slot : slots_)
      if (slot.key != kFree) f(slot.key, slot.value);
  }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;
  struct Slot {
    uint64_t key = kFree;
    Value value = {};
  };
  size_t Place(uint64_t key) const {
    size_t at = (key * 0x9E3779B97F4A7C15u) >> 20 & (slots_.size() - 1);
    while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void Grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.key != kFree) slots_[Place(slot.key)] = slot;
  }
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

// Before the first byte of a document stand four NULs. Its end is not predicted. Memory: about 40 bytes for
// each different 5-gram, of which 20 MB of English have some 1.5 million.
class ByteNgram {
 public:
  static constexpr int kOrder = 5;

  void Add(std::string_view document);
  // After the last Add; then the rest may be called, by many threads.
  void Finish();

  // Of `byte` after the last four bytes, the latest in the low byte. Over all bytes they sum to 1.
  double Probability(uint32_t context, uint8_t byte) const;
  // -log2 of the probability of all bytes of a document.
  double Bits(std::string_view document) const;
  // The discount of order 1..kOrder: n1 / (n1 + 2 n2) of its counts of counts, within [0.05, 0.95].
  double discount(int order) const { return orders_[order - 1].discount; }

 private:
  struct Context {
    uint64_t total = 0;     // of the counts behind it
    uint32_t distinct = 0;  // bytes behind it
  };
  // Grams of n bytes. Their counts: of the highest order how often they occur, of lower ones how many
  // different bytes they occur behind.
  struct Order {
    GramTable<uint64_t> grams;
    GramTable<Context> contexts;  // of n - 1 bytes
    double discount = 0;
  };
  std::array<Order, kOrder> orders_;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_NGRAM_H_
