#include "tokenizer/template_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "tokenizer/template_text.h"

namespace fusiontree::tokenizer {
namespace {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// \r\n and \r become \n, and one newline at the end is dropped.
std::string NormalizeNewlines(const std::string& source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> Run() {
    while (at_ < source_.size()) {
      FT_RETURN_IF_ERROR(Root());
    }
    Push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  Status Error(fmt::format_string<Args...> format, Args&&... args) const {
    return BadInput("chat template line {}: {}", line_, fmt::format(format, std::forward<Args>(args)...));
  }
  bool Has(size_t at, std::string_view what) const {
    return std::string_view(source_).substr(std::min(at, source_.size())).starts_with(what);
  }
  size_t SkipSpace(size_t at) const {
    while (at < source_.size()) {
      const CodePoint c = DecodeAt(source_, at);
      if (!IsSpace(c.value)) break;
      at += c.size;
    }
    return at;
  }
  void Push(TokenKind kind, std::string text) { tokens_.push_back(Token{kind, line_, std::move(text)}); }
  // Moves to byte `to`, counting lines; what ended there decides whether a line starts.
  void Advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    if (to > at_) line_starting_ = source_[to - 1] == '\n';
    at_ = to;
  }

  // Byte after the end tag that starts at `at` ("%}" with its -, + and trimmed newline), or 0.
  size_t BlockEnd(size_t at, std::string_view end_tag, bool trim_newline) const {
    if (Has(at, "-") && Has(at + 1, end_tag)) return SkipSpace(at + 1 + end_tag.size());
    if (trim_newline && Has(at, "+") && Has(at + 1, end_tag)) return at + 1 + end_tag.size();
    if (!Has(at, end_tag)) return 0;
    at += end_tag.size();
    return trim_newline && Has(at, "\n") ? at + 1 : at;
  }

  // Emits source_[at_, tag) as data, stripped as the tag's sign asks.
  void Data(size_t tag, char sign, bool lstrip) {
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    size_t keep = text.size();
    if (sign == '-') {
      keep = StripRange(text, nullptr, false, true).end;
    } else if (sign != '+' && lstrip) {
      const size_t newline = text.rfind('\n');
      const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line_begin > 0 || line_starting_) &&
          StripRange(text.substr(line_begin), nullptr, true, false).begin == text.size() - line_begin) {
        keep = line_begin;
      }
    }
    if (keep > 0) Push(TokenKind::kData, std::string(text.substr(0, keep)));
    Advance(tag);
  }

  char SignAt(size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : '\0';
  }

  Status Root() {
    size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos &&
           !(Has(tag + 1, "%") || Has(tag + 1, "{") || Has(tag + 1, "#"))) {
      ++tag;
    }
    if (tag == std::string::npos) {
      Push(TokenKind::kData, source_.substr(at_));
      Advance(source_.size());
      return OkStatus();
    }
    const char type = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    const size_t inside = tag + 2 + (sign != '\0');
    if (type == '%') {
      // {% raw %}: the end tag keeps its newline, and has no + form.
      size_t word = SkipSpace(inside);
      if (Has(word, "raw")) {
        word = SkipSpace(word + 3);
        if (const size_t end = BlockEnd(word, "%}", false); end != 0) {
          Data(tag, sign, true);
          Advance(end);
          return Raw();
        }
      }
    }
    Data(tag, sign, type != '{');
    if (type == '#') return Comment(inside);
    Push(type == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    Advance(inside);
    return Tag(type == '%' ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, type == '%' ? "%}" : "}}");
  }

  Status Comment(size_t inside) {
    const size_t close = source_.find("#}", inside);
    if (close == std::string::npos) return Error("the comment that starts here has no end");
    size_t end = close + 2;
    if (close > inside && source_[close - 1] == '-') {
      end = SkipSpace(end);
    } else if (!(close > inside && source_[close - 1] == '+') && Has(end, "\n")) {
      ++end;
    }
    Advance(end);
    return OkStatus();
  }

  Status Raw() {
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; ++tag) {
      const char sign = SignAt(tag + 2);
      size_t word = SkipSpace(tag + 2 + (sign != '\0'));
      if (!Has(word, "endraw")) continue;
      const size_t end = BlockEnd(SkipSpace(word + 6), "%}", true);
      if (end == 0) continue;
      Data(tag, sign, true);
      Advance(end);
      return OkStatus();
    }
    return Error("the raw block that starts here has no end");
  }

  // Tokens up to the end tag; inside brackets the end tag's characters are operators.
  Status Tag(TokenKind end_kind, std::string_view end_tag) {
    while (at_ < source_.size()) {
      if (const size_t space = SkipSpace(at_); space != at_) {
        Advance(space);
        continue;
      }
      if (brackets_.empty()) {
        if (const size_t end = BlockEnd(at_, end_tag, end_kind == TokenKind::kBlockEnd); end != 0) {
          Push(end_kind, "");
          Advance(end);
          return OkStatus();
        }
      }
      FT_RETURN_IF_ERROR(Inside());
    }
    return OkStatus();  // the parser reports the missing end
  }

  Status Inside() {
    const char c = source_[at_];
    if (IsDigit(c)) return Number();
    if (c == '"' || c == '\'') return String(c);
    if (const CodePoint cp = DecodeAt(source_, at_); IsIdentifierPart(cp.value)) {
      if (!IsIdentifierStart(cp.value))
        return Error("a name cannot begin with {}", source_.substr(at_, cp.size));
      size_t end = at_;
      while (end < source_.size()) {
        const CodePoint next = DecodeAt(source_, end);
        if (!IsIdentifierPart(next.value)) break;
        end += next.size;
      }
      Push(TokenKind::kName, source_.substr(at_, end - at_));
      Advance(end);
      return OkStatus();
    }
    return Operator();
  }

  Status Operator() {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!Has(at_, op)) continue;
      if (op == "(" || op == "[" || op == "{") brackets_.push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
      // The parser stops earlier; a million tokens need not be kept until then.
      constexpr size_t kMaxBrackets = 256;
      if (brackets_.size() > kMaxBrackets)
        return Error("brackets are nested deeper than {} levels", kMaxBrackets);
      if (op == ")" || op == "]" || op == "}") {
        if (brackets_.empty()) return Error("'{}' without its opening bracket", op);
        if (brackets_.back() != op[0]) return Error("'{}' where '{}' is expected", op, brackets_.back());
        brackets_.pop_back();
      }
      Push(TokenKind::kOperator, std::string(op));
      Advance(at_ + op.size());
      return OkStatus();
    }
    return Error("unexpected character '{}'", source_.substr(at_, DecodeAt(source_, at_).size));
  }

  // Byte after digits_of(_?digit)*, or `at` when none starts there.
  template <typename IsPart>
  size_t Digits(size_t at, IsPart is_part) const {
    const size_t begin = at;
    while (at < source_.size()) {
      if (is_part(source_[at])) {
        ++at;
      } else if (at > begin && source_[at] == '_' && at + 1 < source_.size() && is_part(source_[at + 1])) {
        at += 2;
      } else {
        break;
      }
    }
    return at;
  }

  std::string WithoutUnderscores(size_t begin, size_t end) const {
    std::string digits = source_.substr(begin, end - begin);
    std::erase(digits, '_');
    return digits;
  }

  Status Number() {
    // `a.0.1` is two subscripts: no float starts after a dot.
    size_t end = Digits(at_, IsDigit);
    bool real = false;
    if (at_ == 0 || source_[at_ - 1] != '.') {
      if (Has(end, ".") && end + 1 < source_.size() && IsDigit(source_[end + 1])) {
        end = Digits(end + 1, IsDigit);
        real = true;
      }
      if (Has(end, "e") || Has(end, "E")) {
        const size_t exponent = end + 1 + (Has(end + 1, "+") || Has(end + 1, "-"));
        if (exponent < source_.size() && IsDigit(source_[exponent])) {
          end = Digits(exponent, IsDigit);
          real = true;
        }
      }
    }
    return real ? Float(end) : Integer(end);
  }

  Status Float(size_t end) {
    const std::string digits = WithoutUnderscores(at_, end);
    Push(TokenKind::kFloat, digits);
    // Out of range is inf or 0 in Python; from_chars leaves the value alone then.
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().real);
    if (error != std::errc()) return Error("the number {} is out of range", digits.substr(0, 40));
    Advance(end);
    return OkStatus();
  }

  Status Integer(size_t end) {
    int base = 10;
    size_t begin = at_;
    if (source_[at_] == '0') {
      end = Digits(at_, [](char c) { return c == '0'; });
      const char mark = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : '\0';
      const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
      if (marked != 0) {
        const size_t first = at_ + 2 + Has(at_ + 2, "_");
        const size_t stop = Digits(first, [marked](char c) {
          const int value = IsDigit(c)                               ? c - '0'
                            : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                     : 99;
          return value < marked;
        });
        if (stop > first) {
          base = marked;
          begin = first;
          end = stop;
        }
      }
    }
    const std::string digits = WithoutUnderscores(begin, end);
    Push(TokenKind::kInteger, digits);
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().integer, base);
    if (error != std::errc()) return Error("the integer {} does not fit in 64 bits", digits.substr(0, 40));
    Advance(end);
    return OkStatus();
  }

  Status String(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return Error("the string that starts here has no end");
    std::string text;
    for (size_t i = at_ + 1; i < end;) {
      if (source_[i] != '\\') {
        text.push_back(source_[i++]);
        continue;
      }
      FT_RETURN_IF_ERROR(Escape(&i, &text));
    }
    Push(TokenKind::kString, std::move(text));
    Advance(end + 1);
    return OkStatus();
  }

  // The escape at byte *i, as Python's unicode-escape reads it after non-ASCII became escapes of their own.
  Status Escape(size_t* i, std::string* text) {
    static constexpr std::string_view kNames = "\n\\'\"abfnrtv";
    static constexpr std::string_view kValues("\0\\'\"\a\b\f\n\r\t\v", 11);
    const char c = source_[*i + 1];
    *i += 2;
    if (const size_t known = kNames.find(c); known != std::string_view::npos) {
      if (c != '\n') text->push_back(kValues[known]);
      return OkStatus();
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    int base = 16;
    if (c >= '0' && c <= '7') {
      --*i;
      base = 8;
      digits = 1;
      while (digits < 3 && *i + digits < source_.size() && source_[*i + digits] >= '0' &&
             source_[*i + digits] <= '7') {
        ++digits;
      }
    }
    if (digits == 0) {
      if (c == 'N') return Error("the escape \\N{{...}} is not available, write \\u and the number");
      text->push_back('\\');
      if (static_cast<uint8_t>(c) < 0x80) {
        text->push_back(c);
      } else {
        const CodePoint cp = DecodeAt(source_, *i - 1);
        *i += cp.size - 1;
        text->append(cp.value < 0x100     ? fmt::format("x{:02x}", cp.value)
                     : cp.value < 0x10000 ? fmt::format("u{:04x}", cp.value)
                                          : fmt::format("U{:08x}", cp.value));
      }
      return OkStatus();
    }
    uint32_t cp = 0;
    const char* first = source_.data() + *i;
    const auto [stop, error] =
        std::from_chars(first, first + std::min(digits, source_.size() - *i), cp, base);
    if (error != std::errc() || stop != first + digits)
      return Error("the escape \\{} needs {} digits", c, digits);
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
      return Error("the escape \\{} names {:#x}, which is no character", c, cp);
    }
    *i += digits;
    AppendUtf8(cp, text);
    return OkStatus();
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<char> brackets_;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> LexTemplate(const std::string& source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

}  // namespace fusiontree::tokenizer
