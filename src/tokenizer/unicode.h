// Character classes as Hugging Face `tokenizers` sees them (see tools/make_unicode_tables.py).
#ifndef FUSIONTREE_TOKENIZER_UNICODE_H_
#define FUSIONTREE_TOKENIZER_UNICODE_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace fusiontree::tokenizer {

struct Range {
  char32_t first;
  char32_t last;
};

// Bits of CharacterClass: one table look-up a character.
enum : uint8_t {
  kLetter = 1,   // \p{L} in Unicode 16
  kNumber = 2,   // \p{N} in Unicode 16
  kSpace = 4,    // White_Space
  kNumeric = 8,  // what the Digits step splits at (Unicode 17)
  kInert = 16,   // newer than the normaliser's Unicode: neither decomposes, composes nor reorders
};
uint8_t CharacterClass(char32_t c);

// \w of Rust's regex: alphabetic, mark, decimal digit, connector or join control.
bool IsWordCharacter(char32_t c);
// One-to-one lower case; U+0130 is the caller's, it has two characters.
char32_t LowerCase(char32_t c);

// The 25 characters with White_Space, as ranges.
std::span<const Range> SpaceRanges();
// Characters of a general category ("L", "Lu", "Nd", …) that PCRE2's Unicode 14 does not know yet; empty for
// a category without any.
std::span<const Range> NewerThanPcre(std::string_view category);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_UNICODE_H_
