#include "base/utf8.h"

#include <cstring>

namespace fusiontree::base {
namespace {

struct Scan {
  size_t length;  // bytes of the character, or of the maximal ill-formed part; at least 1
  bool valid;
  bool cut;  // ill-formed only because the text ends here
};

// Table 3-7 of the Unicode standard: the second byte's range depends on the first.
Scan ScanCharacter(std::string_view text, size_t offset) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(offset);
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (offset + i == text.size()) return {i, false, true};
    const uint8_t byte = at(offset + i);
    if (byte < low || byte > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

}  // namespace

size_t FindInvalidUtf8(std::string_view text) {
  size_t offset = 0;
  while (offset < text.size()) {
    uint64_t eight;
    if (text.size() - offset >= sizeof(eight)) {
      std::memcpy(&eight, text.data() + offset, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        offset += sizeof(eight);
        continue;
      }
    }
    const Scan scan = ScanCharacter(text, offset);
    if (!scan.valid) return offset;
    offset += scan.length;
  }
  return std::string_view::npos;
}

Status CheckUtf8(std::string_view text, std::string_view what) {
  const size_t offset = FindInvalidUtf8(text);
  if (offset == std::string_view::npos) return OkStatus();
  return BadInput("{} is not valid UTF-8: byte 0x{:02X} at offset {}", what,
                  static_cast<uint8_t>(text[offset]), offset);
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t offset = 0;
  while (offset < text.size()) {
    const Scan scan = ScanCharacter(text, offset);
    out.append(scan.valid ? text.substr(offset, scan.length) : kReplacementCharacter);
    offset += scan.length;
  }
  return out;
}

size_t IncompleteUtf8Tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t offset = text.size() - back;
    const auto byte = static_cast<uint8_t>(text[offset]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;
    const Scan scan = ScanCharacter(text, offset);
    return scan.cut && scan.length == back ? back : 0;
  }
  return 0;
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace fusiontree::base
