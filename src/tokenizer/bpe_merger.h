// The training loop of BPE on counted words.
#ifndef FUSIONTREE_TOKENIZER_BPE_MERGER_H_
#define FUSIONTREE_TOKENIZER_BPE_MERGER_H_

#include <cstdint>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace fusiontree::tokenizer {

// Words as ids of `tokens`, and how often each occurs. The count of every pair of neighbours is kept exact
// while words shrink: a merge visits only the words that had its pair.
class BpeMerger {
 public:
  // `tokens`: the bytes of each id so far, which grows; the first `special` are no text and never found.
  // `forbidden`: bytes that no merge may make.
  BpeMerger(std::vector<std::string>* tokens, size_t special, std::unordered_set<std::string> forbidden);

  // `ids` of one word, which occurs `count` times.
  void AddWord(const std::vector<int32_t>& ids, int64_t count);
  // Merges the most frequent pair, of equal ones that with the lowest left, then right id; false when none
  // occurs min_count times.
  bool MergeNext(int64_t min_count, std::pair<int32_t, int32_t>* merged);
  int64_t CountTokens() const;  // that all words are at the moment

 private:
  using Pair = uint64_t;  // left id << 32 | right id
  static Pair Of(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  struct PairInfo {
    int64_t count = 0;
    bool grown = false;           // is in grown_
    std::vector<uint32_t> words;  // all that have the pair, and some that had it
  };
  struct Word {
    size_t begin;  // in symbols_
    uint32_t size;
    int64_t count;
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };
  void Change(Pair pair, int64_t by, uint32_t word);
  void MergeIn(uint32_t word, int32_t left, int32_t right, int32_t made);

  std::vector<std::string>* tokens_;
  std::unordered_set<std::string> forbidden_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<int32_t> symbols_;
  std::vector<Word> words_;
  std::unordered_map<Pair, PairInfo> pairs_;
  std::vector<Pair> grown_;  // pairs whose count has grown since they were last queued
  // Counts may be out of date: checked when a candidate is taken.
  std::priority_queue<Candidate> queue_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_BPE_MERGER_H_
