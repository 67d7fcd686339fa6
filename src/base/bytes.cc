#include "base/bytes.h"

namespace fusiontree::base {
namespace {

// Bytes of the UTF-8 character at the front of `text`, 0 when there is none. Table 3-7 of the Unicode
// standard.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto in = [](uint8_t value, uint8_t low, uint8_t high) { return value >= low && value <= high; };
  const uint8_t lead = byte(0);
  if (text.empty()) return 0;
  if (lead < 0x80) return 1;
  if (in(lead, 0xC2, 0xDF)) return in(byte(1), 0x80, 0xBF) ? 2 : 0;
  if (in(lead, 0xE0, 0xEF)) {
    const uint8_t low = lead == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : 0xBF;
    return in(byte(1), low, high) && in(byte(2), 0x80, 0xBF) ? 3 : 0;
  }
  if (in(lead, 0xF0, 0xF4)) {
    const uint8_t low = lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xF4 ? 0x8F : 0xBF;
    return in(byte(1), low, high) && in(byte(2), 0x80, 0xBF) && in(byte(3), 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

}  // namespace

Status ByteReader::RanOut(uint64_t size, std::string_view what) {
  ran_out_ = true;
  return BadInput("{} at byte {} needs {} bytes, but only {} are left", what, position_, size, remaining());
}

size_t ValidUtf8Prefix(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    const size_t length = Utf8Length(text.substr(position));
    if (length == 0) break;
    position += length;
  }
  return position;
}

std::string Quote(std::string_view text) {
  constexpr size_t kMaxBytes = 120;
  std::string quoted = "\"";
  for (size_t position = 0; position < text.size();) {
    if (quoted.size() > kMaxBytes) {
      quoted += "...";
      break;
    }
    const size_t length = Utf8Length(text.substr(position));
    const uint8_t byte = static_cast<uint8_t>(text[position]);
    if (length == 0 || byte < 0x20 || byte == 0x7F || byte == '"' || byte == '\\') {
      quoted += fmt::format("\\x{:02x}", byte);
      ++position;
    } else {
      quoted += text.substr(position, length);
      position += length;
    }
  }
  return quoted + "\"";
}

}  // namespace fusiontree::base
