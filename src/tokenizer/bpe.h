// Byte-pair encoding with ranked merges, as Hugging Face `tokenizers` does it (its models::bpe).
#ifndef FUSIONTREE_TOKENIZER_BPE_H_
#define FUSIONTREE_TOKENIZER_BPE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tokenizer/model.h"
#include "tokenizer/vocabulary.h"

namespace fusiontree::tokenizer {

struct BpeOptions {
  // Words are raw bytes, to be spelt in GPT-2's alphabet before they are looked up.
  bool byte_level = false;
  bool byte_fallback = false;  // an unknown character becomes <0xHH> tokens where all of them exist
  bool fuse_unk = false;       // neighbouring unknown characters become one unk
  bool ignore_merges = false;  // a word that is a token is that token, without merging
  std::string unk_token;       // empty: an unknown character is dropped
};

// The merges in order, as pairs of texts in one arena.
struct MergeList {
  std::string arena;
  struct Pair {
    uint32_t left_size;
    uint32_t right_size;
  };
  std::vector<Pair> pairs;
  void Add(std::string_view left, std::string_view right) {
    arena.append(left).append(right);
    pairs.push_back({static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size())});
  }
};

class Bpe : public Model {
 public:
  // `vocabulary` outlives the model. `is_special(id)`: never the answer of ignore_merges, so that no text of
  // a user becomes a special token. Errors: a merge whose parts or result are no tokens, an unk token that is
  // none.
  static base::Result<std::unique_ptr<Bpe>> Make(const Vocabulary* vocabulary, const MergeList& merges,
                                                 const BpeOptions& options, std::vector<bool> is_special);

  void EncodeWord(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* out) const override;
  bool cuts_at_space_marks() const override { return cuts_at_space_marks_; }

 private:
  struct Merge {
    uint32_t rank;
    int32_t result;
  };
  static constexpr uint32_t kNoMerge = UINT32_MAX;

  explicit Bpe(const Vocabulary* vocabulary) : vocabulary_(vocabulary) {}
  base::Status AddMerges(const MergeList& merges);
  bool AnyTokenWithInnerSpaceMark() const;
  Merge Find(int32_t left, int32_t right) const;
  void FirstSymbols(std::string_view word, std::vector<int32_t>* ids) const;
  void MergeShort(MergeScratch* scratch, std::vector<int32_t>* out) const;
  void MergeLong(MergeScratch* scratch, std::vector<int32_t>* out) const;

  const Vocabulary* vocabulary_;
  BpeOptions options_;
  int32_t unk_ = -1;
  bool cuts_at_space_marks_ = false;
  std::vector<bool> is_special_;
  std::array<int32_t, 256> byte_ids_;      // byte_level: of the byte's character, -1: none
  std::array<int32_t, 256> fallback_ids_;  // of <0xHH>, -1: none
  // Open addressing by the pair of ids; left -1 is free.
  struct Slot {
    int32_t left = -1;
    int32_t right = -1;
    Merge merge{kNoMerge, -1};
  };
  std::vector<Slot> slots_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_BPE_H_
