#include "report/json.h"

#include <fmt/format.h>

#include <cmath>

#include "base/check.h"

namespace fusiontree::report {
namespace {

// Length of the well-formed UTF-8 character at the start of `text`, 0 when there is none.
size_t CharacterLength(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  const unsigned char second = at(1);
  if (lead == 0xE0 && second < 0xA0) return 0;  // overlong
  if (lead == 0xED && second > 0x9F) return 0;  // surrogate
  if (lead == 0xF0 && second < 0x90) return 0;  // overlong
  if (lead == 0xF4 && second > 0x8F) return 0;  // beyond U+10FFFF
  return length;
}

}  // namespace

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterLength(text.substr(i));
    const char c = text[i];
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        else
          out.append(text, i, length);
    }
    i += length;
  }
  return out + '"';
}

void Json::NewLine() {
  if (indent_ == 0) return;
  text_ += '\n';
  text_.append(filled_.size() * static_cast<size_t>(indent_), ' ');
}

void Json::Separate() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (filled_.empty()) return;
  if (filled_.back()) text_ += indent_ == 0 ? ", " : ",";
  filled_.back() = true;
  NewLine();
}

void Json::Close(char bracket) {
  FT_CHECK(!filled_.empty() && !after_key_);
  const bool filled = filled_.back();
  filled_.pop_back();
  if (filled) NewLine();
  text_ += bracket;
}

Json& Json::BeginObject() {
  Separate();
  text_ += '{';
  filled_.push_back(false);
  return *this;
}
Json& Json::EndObject() {
  Close('}');
  return *this;
}
Json& Json::BeginArray() {
  Separate();
  text_ += '[';
  filled_.push_back(false);
  return *this;
}
Json& Json::EndArray() {
  Close(']');
  return *this;
}
Json& Json::Key(std::string_view key) {
  Separate();
  text_ += Quote(key) + ": ";
  after_key_ = true;
  return *this;
}
Json& Json::Text(std::string_view value) { return Raw(Quote(value)); }
Json& Json::Integer(int64_t value) { return Raw(fmt::format("{}", value)); }
Json& Json::Number(double value) { return Raw(std::isfinite(value) ? fmt::format("{}", value) : "null"); }
Json& Json::Bool(bool value) { return Raw(value ? "true" : "false"); }
Json& Json::Null() { return Raw("null"); }
Json& Json::Raw(std::string_view json) {
  Separate();
  text_ += json;
  return *this;
}

}  // namespace fusiontree::report
