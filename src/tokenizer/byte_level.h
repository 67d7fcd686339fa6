// GPT-2's alphabet of bytes: each of the 256 bytes is one printable character.
#ifndef FUSIONTREE_TOKENIZER_BYTE_LEVEL_H_
#define FUSIONTREE_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace fusiontree::tokenizer {

// The character of a byte: the byte itself where that is printable Latin-1, else U+0100 and upward in order.
char32_t ByteToCharacter(uint8_t byte);
// The byte of a character, -1 when the character is not in the alphabet.
int CharacterToByte(char32_t c);

// Appends each byte of `bytes` as its character in UTF-8.
void AppendByteLevel(std::string_view bytes, std::string* out);

// GPT-2's splitting pattern, what ByteLevel with use_regex splits at.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_BYTE_LEVEL_H_
