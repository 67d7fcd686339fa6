// UTF-8 as the rest of the program may rely on it: checked once at the border, trusted inside.
#ifndef FUSIONTREE_BASE_UTF8_H_
#define FUSIONTREE_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fusiontree::base {

// U+FFFD, what stands for bytes that are no character.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// Offset of the first byte that is no part of a well-formed character (overlong forms, surrogates and code
// points above U+10FFFF are ill-formed); std::string_view::npos when there is none. O(n).
size_t FindInvalidUtf8(std::string_view text);

// Error "<what> is not valid UTF-8: byte 0xC0 at offset 17".
Status CheckUtf8(std::string_view text, std::string_view what);

// Each maximal ill-formed part becomes one U+FFFD (Unicode 15, section 3.9, the practice of browsers and
// Rust).
std::string ReplaceInvalidUtf8(std::string_view text);

// Bytes at the end of `text` that begin a character but do not finish it (0 to 3).
size_t IncompleteUtf8Tail(std::string_view text);

// Appends one code point (not a surrogate, at most U+10FFFF).
void AppendUtf8(char32_t code_point, std::string* out);

// Length in bytes of the character that starts with `lead`, in well-formed text.
inline int Utf8Length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The code point at `text[*offset]`, moving the offset past it. Only for well-formed text.
inline char32_t NextUtf8(std::string_view text, size_t* offset) {
  const char* p = text.data() + *offset;
  const auto at = [p](int i) { return static_cast<char32_t>(static_cast<uint8_t>(p[i])); };
  const int length = Utf8Length(*p);
  *offset += length;
  switch (length) {
    case 1:
      return at(0);
    case 2:
      return (at(0) & 0x1F) << 6 | (at(1) & 0x3F);
    case 3:
      return (at(0) & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
    default:
      return (at(0) & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
  }
}

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_UTF8_H_
