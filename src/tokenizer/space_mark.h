// U+2581, how SentencePiece spells a space.
#ifndef FUSIONTREE_TOKENIZER_SPACE_MARK_H_
#define FUSIONTREE_TOKENIZER_SPACE_MARK_H_

#include <algorithm>
#include <string>
#include <string_view>

namespace fusiontree::tokenizer {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// Whether a space mark follows another character in `text`.
inline bool HasInnerSpaceMark(std::string_view text) {
  size_t begin = 0;
  while (text.substr(begin, kSpaceMark.size()) == kSpaceMark) begin += kSpaceMark.size();
  return text.find(kSpaceMark, begin) != std::string_view::npos;
}

// The offset at or after `from` + 1 of a space mark that follows another character; text.size() when there is
// none.
inline size_t NextInnerSpaceMark(std::string_view text, size_t from) {
  while (text.substr(from, kSpaceMark.size()) == kSpaceMark) from += kSpaceMark.size();
  return std::min(text.find(kSpaceMark, from), text.size());
}

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_SPACE_MARK_H_
