#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/space_mark.h"

namespace fusiontree::tokenizer {
namespace {

// Up to here a plain search for the lowest rank beats a heap; words of text are a handful of symbols.
constexpr size_t kShortWord = 32;

size_t HashPair(int32_t left, int32_t right) {
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  const uint64_t hash = key * 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 32;
}

bool Later(const MergeCandidate& a, const MergeCandidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

base::Result<std::unique_ptr<Bpe>> Bpe::Make(const Vocabulary* vocabulary, const MergeList& merges,
                                             const BpeOptions& options, std::vector<bool> is_special) {
  std::unique_ptr<Bpe> bpe(new Bpe(vocabulary));
  bpe->options_ = options;
  bpe->is_special_ = std::move(is_special);
  bpe->is_special_.resize(vocabulary->size(), false);
  if (!options.unk_token.empty()) {
    bpe->unk_ = vocabulary->Find(options.unk_token);
    if (bpe->unk_ < 0)
      return base::BadInput("the unk_token \"{}\" is not in the vocabulary", options.unk_token);
  }
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    base::AppendUtf8(ByteToCharacter(static_cast<uint8_t>(byte)), &character);
    bpe->byte_ids_[byte] = vocabulary->Find(character);
    bpe->fallback_ids_[byte] = vocabulary->Find(fmt::format("<0x{:02X}>", byte));
  }
  FT_RETURN_IF_ERROR(bpe->AddMerges(merges));
  bpe->cuts_at_space_marks_ = !options.byte_level && !options.ignore_merges &&
                              vocabulary->Find(kSpaceMark) >= 0 && !bpe->AnyTokenWithInnerSpaceMark();
  return bpe;
}

base::Status Bpe::AddMerges(const MergeList& merges) {
  slots_.resize(std::bit_ceil(merges.pairs.size() * 2 + 2));
  const std::string_view arena = merges.arena;
  size_t offset = 0;
  for (size_t i = 0; i < merges.pairs.size(); ++i) {
    const auto [left_size, right_size] = merges.pairs[i];
    const std::string_view both = arena.substr(offset, left_size + right_size);
    offset += both.size();
    const int32_t left = vocabulary_->Find(both.substr(0, left_size));
    const int32_t right = vocabulary_->Find(both.substr(left_size));
    const int32_t result = vocabulary_->Find(both);
    if (left < 0 || right < 0 || result < 0)
      return base::BadInput(
          "merge {} (\"{}\" with \"{}\") names the token \"{}\", which is not in the vocabulary", i,
          both.substr(0, left_size), both.substr(left_size),
          left < 0    ? both.substr(0, left_size)
          : right < 0 ? both.substr(left_size)
                      : both);
    const size_t mask = slots_.size() - 1;
    size_t slot = HashPair(left, right) & mask;
    while (slots_[slot].left >= 0 && (slots_[slot].left != left || slots_[slot].right != right))
      slot = (slot + 1) & mask;
    slots_[slot] = {left, right, {static_cast<uint32_t>(i), result}};  // of equal pairs the last one counts
  }
  return base::OkStatus();
}

bool Bpe::AnyTokenWithInnerSpaceMark() const {
  for (const Slot& slot : slots_)
    if (slot.left >= 0 && HasInnerSpaceMark(vocabulary_->Text(slot.merge.result))) return true;
  return false;
}

Bpe::Merge Bpe::Find(int32_t left, int32_t right) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = HashPair(left, right) & mask;; slot = (slot + 1) & mask) {
    const Slot& at = slots_[slot];
    if (at.left < 0 || (at.left == left && at.right == right)) return at.merge;
  }
}

// One id a character; the order of an unk that waits to be fused and of fallback bytes is Hugging Face's.
void Bpe::FirstSymbols(std::string_view word, std::vector<int32_t>* ids) const {
  ids->clear();
  bool unk_waits = false;
  const auto flush = [&] {
    if (unk_waits) ids->push_back(unk_);
    unk_waits = false;
  };
  const auto put = [&](int32_t id, std::string_view character) {
    if (id >= 0) {
      flush();
      ids->push_back(id);
      return;
    }
    const auto fallback = [this](char byte) { return fallback_ids_[static_cast<uint8_t>(byte)]; };
    if (options_.byte_fallback &&
        std::all_of(character.begin(), character.end(), [&](char byte) { return fallback(byte) >= 0; })) {
      for (const char byte : character) ids->push_back(fallback(byte));
    } else if (unk_ >= 0) {
      if (!options_.fuse_unk) flush();
      unk_waits = true;
    }
  };
  if (options_.byte_level) {
    std::string character;
    for (const char raw : word) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(raw)];
      character.clear();
      if (id < 0) base::AppendUtf8(ByteToCharacter(static_cast<uint8_t>(raw)), &character);
      put(id, character);
    }
  } else {
    for (size_t offset = 0; offset < word.size();) {
      const std::string_view character = word.substr(offset, base::Utf8Length(word[offset]));
      put(vocabulary_->Find(character), character);
      offset += character.size();
    }
  }
  flush();
}

void Bpe::EncodeWord(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* out) const {
  if (options_.ignore_merges) {
    std::string_view text = word;
    if (options_.byte_level && word.size() <= vocabulary_->longest()) {
      scratch->mapped.clear();
      AppendByteLevel(word, &scratch->mapped);
      text = scratch->mapped;
    }
    const int32_t id = text.size() <= vocabulary_->longest() ? vocabulary_->Find(text) : -1;
    if (id >= 0 && !is_special_[id]) {
      out->push_back(id);
      return;
    }
  }
  FirstSymbols(word, &scratch->ids);
  if (scratch->ids.size() <= kShortWord) {
    MergeShort(scratch, out);
  } else {
    MergeLong(scratch, out);
  }
}

void Bpe::MergeShort(MergeScratch* scratch, std::vector<int32_t>* out) const {
  std::vector<int32_t>& ids = scratch->ids;
  std::vector<uint32_t>& ranks = scratch->ranks;  // of the pair that begins at each symbol
  std::vector<int32_t>& results = scratch->results;
  const size_t count = ids.size();
  ranks.assign(count, kNoMerge);
  results.assign(count, -1);
  const auto look_up = [&](size_t i, size_t end) {
    const Merge merge = i + 1 < end ? Find(ids[i], ids[i + 1]) : Merge{kNoMerge, -1};
    ranks[i] = merge.rank;
    results[i] = merge.result;
  };
  for (size_t i = 0; i < count; ++i) look_up(i, count);
  size_t left = count;
  while (left > 1) {
    const size_t best = std::min_element(ranks.begin(), ranks.begin() + left) - ranks.begin();
    if (ranks[best] == kNoMerge) break;
    ids[best] = results[best];
    for (size_t i = best + 1; i + 1 < left; ++i) {
      ids[i] = ids[i + 1];
      ranks[i] = ranks[i + 1];
      results[i] = results[i + 1];
    }
    --left;
    look_up(best, left);
    if (best > 0) look_up(best - 1, left);
  }
  out->insert(out->end(), ids.begin(), ids.begin() + left);
}

void Bpe::MergeLong(MergeScratch* scratch, std::vector<int32_t>* out) const {
  std::vector<MergeSymbol>& symbols = scratch->symbols;
  std::vector<MergeCandidate>& heap = scratch->heap;
  const auto count = static_cast<int32_t>(scratch->ids.size());
  symbols.resize(count);
  heap.clear();
  for (int32_t i = 0; i < count; ++i) symbols[i] = {scratch->ids[i], i - 1, i + 1 < count ? i + 1 : -1};
  const auto candidate = [&](int32_t position) {
    const Merge merge = Find(symbols[position].id, symbols[symbols[position].next].id);
    return MergeCandidate{merge.rank, static_cast<uint32_t>(position), merge.result};
  };
  for (int32_t i = 0; i + 1 < count; ++i) {
    const MergeCandidate found = candidate(i);
    if (found.rank != kNoMerge) heap.push_back(found);
  }
  std::make_heap(heap.begin(), heap.end(), Later);
  const auto push = [&](int32_t position) {
    const MergeCandidate found = candidate(position);
    if (found.rank == kNoMerge) return;
    heap.push_back(found);
    std::push_heap(heap.begin(), heap.end(), Later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), Later);
    const MergeCandidate top = heap.back();
    heap.pop_back();
    MergeSymbol& symbol = symbols[top.position];
    if (symbol.id < 0 || symbol.next < 0) continue;
    MergeSymbol& right = symbols[symbol.next];
    if (Find(symbol.id, right.id).result != top.id) continue;  // a neighbour has changed since
    symbol.id = top.id;
    right.id = -1;
    symbol.next = right.next;
    const auto position = static_cast<int32_t>(top.position);
    if (symbol.next >= 0) {
      symbols[symbol.next].previous = position;
      push(position);
    }
    if (symbol.previous >= 0) push(symbol.previous);
  }
  for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = symbols[i].next) out->push_back(symbols[i].id);
}

}  // namespace fusiontree::tokenizer
