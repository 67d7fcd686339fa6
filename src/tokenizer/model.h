// From a word (what the pre-tokeniser leaves together) to ids: the interface of the two merge algorithms, and
// the cache of words that both stand behind.
#ifndef FUSIONTREE_TOKENIZER_MODEL_H_
#define FUSIONTREE_TOKENIZER_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fusiontree::tokenizer {

// A symbol of the word being merged, in a doubly linked list over an array.
struct MergeSymbol {
  int32_t id;  // of the token, -1: merged into its left neighbour
  int32_t previous;
  int32_t next;  // -1 at the ends
};

// A candidate merge of the symbol at `position` with its right neighbour.
struct MergeCandidate {
  uint32_t rank;  // lower goes first, then the lower position
  uint32_t position;
  int32_t id;  // of the token it makes
};

// The same for SentencePiece, whose symbols are stretches of the word.
struct PieceSymbol {
  uint32_t begin;
  uint32_t bytes;  // 0: merged into its left neighbour
  int32_t previous;
  int32_t next;  // -1 at the ends
};
struct PieceCandidate {
  double score;  // higher goes first, then the lower position
  uint32_t position;
  uint32_t bytes;  // of the two symbols together
};

// Buffers of a model, kept between words so that a word costs no allocation. One thread at a time.
struct MergeScratch {
  std::string mapped;
  std::vector<int32_t> ids;
  std::vector<uint32_t> ranks;
  std::vector<int32_t> results;
  std::vector<MergeSymbol> symbols;
  std::vector<MergeCandidate> heap;
  std::vector<PieceSymbol> pieces;
  std::vector<PieceCandidate> piece_heap;
};

// Immutable, shared by threads. A word of n bytes costs O(n log n).
class Model {
 public:
  virtual ~Model() = default;
  // Appends the ids of `word`, well-formed UTF-8 of less than 2^31 bytes.
  virtual void EncodeWord(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* out) const = 0;
  // True when a word may be cut before each run of U+2581 without a change: no token has one inside.
  virtual bool cuts_at_space_marks() const = 0;
};

// Words seen before with their ids: direct mapped, one cache line an entry, short words of few tokens only.
// English text finds all but a few in a hundred here. One thread at a time.
class WordCache {
 public:
  WordCache() : entries_(kEntries) {}
  void EncodeWord(const Model& model, std::string_view word, MergeScratch* scratch,
                  std::vector<int32_t>* out);

 private:
  static constexpr size_t kEntries = 1 << 15;  // 2 MB: stays in the second-level cache of current processors
  static constexpr size_t kMaxBytes = 30;
  static constexpr size_t kMaxIds = 8;
  struct alignas(64) Entry {
    uint8_t bytes = 0;  // 0: free
    uint8_t count = 0;
    char word[kMaxBytes];
    int32_t ids[kMaxIds];
  };
  std::vector<Entry> entries_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_MODEL_H_
