// Numbers from text, with Python's rules for white space, signs, underscores and prefixes.
#include <charconv>
#include <limits>
#include <utility>

#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;

namespace {

std::string_view Stripped(std::string_view text) {
  const Span kept = StripRange(text, nullptr, true, true);
  return text.substr(kept.begin, kept.end - kept.begin);
}

// Decimal digits of any script become ASCII; nothing for other non-ASCII text.
std::optional<std::string> ToAscii(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    if (c.value < 0x80) {
      out.push_back(static_cast<char>(c.value));
    } else if (IsDecimal(c.value)) {
      // Digits lie in runs of ten that start at a multiple of ten code points from their zero.
      uint32_t zero = c.value;
      while (c.value - zero < 9 && IsDecimal(zero - 1)) --zero;
      if (c.value - zero > 9) return std::nullopt;
      out.push_back(static_cast<char>('0' + (c.value - zero)));
    } else {
      return std::nullopt;
    }
    at += c.size;
  }
  return out;
}

// Underscores only between digits; taken out.
bool DropUnderscores(std::string* text) {
  std::string out;
  const auto is_digit = [&](size_t i) {
    return i < text->size() && (*text)[i] != '_' &&
           (((*text)[i] >= '0' && (*text)[i] <= '9') || ((*text)[i] | 0x20) >= 'a');
  };
  for (size_t i = 0; i < text->size(); ++i) {
    if ((*text)[i] != '_') {
      out.push_back((*text)[i]);
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return false;
    }
  }
  *text = std::move(out);
  return true;
}

}  // namespace

Result<std::optional<int64_t>> ParseInteger(std::string_view written, int base_value) {
  using Parsed = std::optional<int64_t>;
  std::optional<std::string> ascii = ToAscii(Stripped(written));
  if (!ascii.has_value()) return Parsed();
  std::string text = std::move(*ascii);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base_value == 0 || base_value == marked)) {
      base_value = marked;
      text.erase(0, text.size() > 2 && text[2] == '_' ? 3 : 2);
    } else if (base_value == 0 && text.find_first_not_of("0_") != std::string::npos) {
      return Parsed();
    }
  }
  if (base_value == 0) base_value = 10;
  if (!DropUnderscores(&text) || text.empty() || text[0] == '-') return Parsed();
  if (negative) text.insert(0, 1, '-');
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, base_value);
  if (stop != text.data() + text.size()) return Parsed();
  if (error == std::errc::result_out_of_range) {
    return BadInput("the integer {} does not fit in 64 bits", text.substr(0, 40));
  }
  return error == std::errc() ? Parsed(value) : Parsed();
}

std::optional<double> ParseReal(std::string_view written) {
  std::optional<std::string> ascii = ToAscii(Stripped(written));
  if (!ascii.has_value()) return std::nullopt;
  std::string text = std::move(*ascii);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  const std::string lower = Lower(text);
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (!DropUnderscores(&text) || text.empty() ||
        text.find_first_not_of("0123456789.eE+-") != std::string::npos || text[0] == '-') {
      return std::nullopt;
    }
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (stop != text.data() + text.size()) return std::nullopt;
    if (error == std::errc::result_out_of_range) {
      // Overflow is inf and underflow 0 in Python; the exponent's sign tells which.
      const bool tiny = text.find("e-") != std::string::npos || text.find("E-") != std::string::npos ||
                        text.starts_with("0.");
      value = tiny ? 0 : std::numeric_limits<double>::infinity();
    } else if (error != std::errc()) {
      return std::nullopt;
    }
  }
  return negative ? -value : value;
}

}  // namespace fusiontree::tokenizer
