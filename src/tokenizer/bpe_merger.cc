#include "tokenizer/bpe_merger.h"

namespace fusiontree::tokenizer {

BpeMerger::BpeMerger(std::vector<std::string>* tokens, size_t special,
                     std::unordered_set<std::string> forbidden)
    : tokens_(tokens), forbidden_(std::move(forbidden)) {
  for (size_t i = special; i < tokens->size(); ++i) ids_.emplace((*tokens)[i], static_cast<int32_t>(i));
}

void BpeMerger::AddWord(const std::vector<int32_t>& ids, int64_t count) {
  const uint32_t word = static_cast<uint32_t>(words_.size());
  words_.push_back({symbols_.size(), static_cast<uint32_t>(ids.size()), count});
  symbols_.insert(symbols_.end(), ids.begin(), ids.end());
  for (size_t i = 0; i + 1 < ids.size(); ++i) Change(Of(ids[i], ids[i + 1]), count, word);
}

void BpeMerger::Change(Pair pair, int64_t by, uint32_t word) {
  PairInfo& info = pairs_[pair];
  info.count += by;
  if (by < 0) return;
  if (info.words.empty() || info.words.back() != word) info.words.push_back(word);
  if (!info.grown) grown_.push_back(pair);
  info.grown = true;
}

void BpeMerger::MergeIn(uint32_t word, int32_t left, int32_t right, int32_t made) {
  Word& w = words_[word];
  int32_t* const symbols = symbols_.data() + w.begin;
  uint32_t out = 0;
  for (uint32_t i = 0; i < w.size;) {
    if (symbols[i] != left || i + 1 == w.size || symbols[i + 1] != right) {
      symbols[out++] = symbols[i++];
      continue;
    }
    Change(Of(left, right), -w.count, word);
    if (out > 0) {
      Change(Of(symbols[out - 1], left), -w.count, word);
      Change(Of(symbols[out - 1], made), w.count, word);
    }
    if (i + 2 < w.size) {
      Change(Of(right, symbols[i + 2]), -w.count, word);
      Change(Of(made, symbols[i + 2]), w.count, word);
    }
    symbols[out++] = made;
    i += 2;
  }
  w.size = out;
}

bool BpeMerger::MergeNext(int64_t min_count, std::pair<int32_t, int32_t>* merged) {
  for (const Pair pair : grown_) {
    PairInfo& info = pairs_[pair];
    info.grown = false;
    queue_.push({info.count, pair});
  }
  grown_.clear();
  while (!queue_.empty()) {
    const Candidate best = queue_.top();
    queue_.pop();
    const auto found = pairs_.find(best.pair);
    if (found == pairs_.end() || found->second.count <= 0) continue;
    if (found->second.count != best.count) {
      queue_.push({found->second.count, best.pair});
      continue;
    }
    if (best.count < min_count) return false;
    const int32_t left = static_cast<int32_t>(best.pair >> 32), right = static_cast<int32_t>(best.pair);
    std::string bytes = (*tokens_)[left] + (*tokens_)[right];
    if (forbidden_.count(bytes) != 0) continue;
    const auto [place, is_new] = ids_.emplace(bytes, static_cast<int32_t>(tokens_->size()));
    if (is_new) tokens_->push_back(std::move(bytes));
    const std::vector<uint32_t> words = std::move(found->second.words);
    for (const uint32_t word : words) MergeIn(word, left, right, place->second);
    // In the words of the list it is gone, and there are no others.
    pairs_.erase(best.pair);
    *merged = {left, right};
    return true;
  }
  return false;
}

int64_t BpeMerger::CountTokens() const {
  int64_t tokens = 0;
  for (const Word& word : words_) tokens += static_cast<int64_t>(word.size) * word.count;
  return tokens;
}

}  // namespace fusiontree::tokenizer
