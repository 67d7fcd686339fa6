// Tokens that are found in the text before anything else is done with it: the special ones and those a
// model's authors added.
#ifndef FUSIONTREE_TOKENIZER_ADDED_TOKENS_H_
#define FUSIONTREE_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/span.h"

namespace fusiontree::tokenizer {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalised text, in its own normal form
};

// Which bytes of a text are data, where spellings of special tokens are only text.
class DataSpans {
 public:
  DataSpans() = default;
  // In any order, overlapping as they like.
  explicit DataSpans(std::vector<Span> spans);
  static DataSpans Everything() { return DataSpans({{0, SIZE_MAX}}); }
  bool empty() const { return spans_.empty(); }
  bool Touches(size_t begin, size_t end) const;
  const std::vector<Span>& spans() const { return spans_; }  // sorted, apart from each other
  // Those in [begin, end), counted from `begin`.
  DataSpans Within(size_t begin, size_t end) const;

 private:
  std::vector<Span> spans_;
};

// Finds a set of tokens, leftmost first and of those the longest. Immutable, shared by threads. O(n × longest
// token) at worst; on text without the tokens' first bytes one table look-up a byte.
class AddedTokenFinder {
 public:
  struct Stretch {
    size_t begin;
    size_t end;
    int32_t id;  // -1: text between tokens
  };
  // Longer contents are refused where the tokens are read.
  static constexpr size_t kMaxContentBytes = 1024;

  // `content` is what is looked for, `token` says how. The first of equal contents counts; empty ones never
  // match.
  void Add(std::string_view content, const AddedToken& token);
  // Cuts `text` at the tokens; a special token that touches `data` is passed over.
  std::vector<Stretch> Cut(std::string_view text, const DataSpans& data) const;

 private:
  const AddedToken* LongestAt(std::string_view text, size_t offset, size_t* length) const;

  std::vector<AddedToken> tokens_;
  // A trie: (node << 8 | byte) → node; token_at_[node] is an index into tokens_ or -1.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> token_at_{-1};
  std::array<bool, 256> first_bytes_{};
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_ADDED_TOKENS_H_
