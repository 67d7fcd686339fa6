#include "tokenizer/byte_level.h"

#include <array>

#include "base/utf8.h"

namespace fusiontree::tokenizer {
namespace {

struct Alphabet {
  std::array<char32_t, 256> characters;
  std::array<int16_t, 324> bytes;  // the last character is U+0143

  constexpr Alphabet() : characters(), bytes() {
    for (auto& byte : bytes) byte = -1;
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
      characters[byte] = printable ? static_cast<char32_t>(byte) : next++;
      bytes[characters[byte]] = static_cast<int16_t>(byte);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

char32_t ByteToCharacter(uint8_t byte) { return kAlphabet.characters[byte]; }

int CharacterToByte(char32_t c) { return c < kAlphabet.bytes.size() ? kAlphabet.bytes[c] : -1; }

void AppendByteLevel(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) base::AppendUtf8(ByteToCharacter(static_cast<uint8_t>(byte)), out);
}

}  // namespace fusiontree::tokenizer
