// Oniguruma to PCRE2: the differences that change what matches.
//   \s \d \w \p{L}…  Unicode 16 in Oniguruma, 14 in PCRE2 (which also counts U+180E as space): spelt out as
//   classes \h \v \uXXXX     hex digit, vertical tab, code point in Ruby's dialect; other things or nothing
//   in PCRE2 {n,m}+  {n}?     a repeated repeat in Ruby's dialect, possessive or lazy in PCRE2: refused
//   (?m)             dot matches newline in Ruby's dialect: refused
//   [a[b]] [a&&b]    sets of sets: refused
#include <cctype>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace fusiontree::tokenizer {
namespace {

std::string ClassRanges(std::span<const Range> ranges) {
  std::string out;
  for (const Range& range : ranges) {
    out += fmt::format("\\x{{{:x}}}", static_cast<uint32_t>(range.first));
    if (range.last != range.first) out += fmt::format("-\\x{{{:x}}}", static_cast<uint32_t>(range.last));
  }
  return out;
}

std::string Complement(std::span<const Range> ranges) {
  std::vector<Range> rest;
  char32_t next = 0;
  for (const Range& range : ranges) {
    if (range.first > next) rest.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  rest.push_back({next, 0x10FFFF});
  return ClassRanges(rest);
}

std::string Category(const std::string& name) {
  return "\\p{" + name + "}" + ClassRanges(NewerThanPcre(name));
}

class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  base::Result<std::string> Run() {
    while (at_ < in_.size()) FT_RETURN_IF_ERROR(in_class_ ? InClass() : Outside());
    if (in_class_) return Refuse("a class without its ]");
    return std::move(out_);
  }

 private:
  base::Status Refuse(std::string_view what) const {
    return base::BadInput("the pattern \"{}\" uses {} at offset {}, which is not supported", in_, what, at_);
  }
  char Peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  void Copy(size_t count = 1) {
    out_ += in_.substr(at_, count);
    at_ += std::min(count, in_.size() - at_);
  }

  base::Status Outside() {
    switch (Peek()) {
      case '\\':
        return Escape();
      case '[':
        in_class_ = true;
        Copy();
        if (Peek() == '^') Copy();
        return Peek() == ']' ? Refuse("a class that begins with ]") : base::OkStatus();
      case '(':
        return Group();
      case '{':
        return Interval();
      default:
        Copy();
        return base::OkStatus();
    }
  }

  base::Status InClass() {
    const char c = Peek();
    if (c == '\\') return Escape();
    if (c == '[') return Refuse("a class inside a class");
    if (c == '&' && Peek(1) == '&') return Refuse("an intersection of classes");
    if (c == ']') in_class_ = false;
    Copy();
    return base::OkStatus();
  }

  base::Status Group() {
    if (Peek(1) == '*') return Refuse("(*");
    if (Peek(1) != '?') {
      Copy();
      return base::OkStatus();
    }
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (in_.substr(at_, known.size()) == known) {
        Copy(known.size());
        return base::OkStatus();
      }
    }
    size_t end = at_ + 2;
    while (end < in_.size() && (in_[end] == 'i' || in_[end] == '-')) ++end;
    if (end > at_ + 2 && end < in_.size() && (in_[end] == ':' || in_[end] == ')')) {
      Copy(end + 1 - at_);
      return base::OkStatus();
    }
    return Refuse("a group of this kind");
  }

  base::Status Interval() {
    size_t end = at_ + 1;
    const auto digits = [&] {
      const size_t begin = end;
      while (end < in_.size() && std::isdigit(static_cast<unsigned char>(in_[end]))) ++end;
      return end - begin;
    };
    const size_t low = digits();
    bool comma = false;
    size_t high = 0;
    if (end < in_.size() && in_[end] == ',') {
      comma = true;
      ++end;
      high = digits();
    }
    if (end >= in_.size() || in_[end] != '}' || (low == 0 && high == 0)) {
      out_ += "\\{";  // no interval: a brace
      ++at_;
      return base::OkStatus();
    }
    if (low == 0) return Refuse("an interval without its lower end");
    Copy(end + 1 - at_);
    if (Peek() == '+' || (Peek() == '?' && !comma)) return Refuse("a repeat of an interval");
    return base::OkStatus();
  }

  // `positive`: what the escape stands for as the inside of a class; `negative`: what its complement does,
  // empty when that has no spelling inside a class.
  base::Status Put(bool negated, const std::string& positive, const std::string& negative) {
    if (!in_class_) {
      out_ += (negated ? "[^" : "[") + positive + "]";
    } else if (!negated) {
      out_ += positive;
    } else if (!negative.empty()) {
      out_ += negative;
    } else {
      return Refuse("a complement inside a class");
    }
    return base::OkStatus();
  }

  base::Status Escape() {
    const char c = Peek(1);
    if (c == '\0') return Refuse("a backslash at the end");
    if (c == 'p' || c == 'P') return Property();
    if (c == 'u' || c == 'x') return CodePoint();
    if (!std::isalnum(static_cast<unsigned char>(c))) {
      Copy(2);
      return base::OkStatus();
    }
    const bool negated = std::isupper(static_cast<unsigned char>(c)) != 0;
    std::string_view same = in_class_ ? "nrtfae" : "nrtfaeAzZ";
    if (same.find(c) != std::string_view::npos) {
      Copy(2);
      return base::OkStatus();
    }
    switch (c) {
      case 's':
      case 'S':
        at_ += 2;
        return Put(negated, ClassRanges(SpaceRanges()), Complement(SpaceRanges()));
      case 'd':
      case 'D':
        at_ += 2;
        return Put(negated, Category("Nd"), "");
      case 'w':
      case 'W':
        at_ += 2;
        return Put(negated,
                   "\\p{Alphabetic}" + Category("L") + Category("M") + Category("Nd") + Category("Pc") +
                       "\\xb2\\xb3\\xb9\\xbc-\\xbe",
                   "");
      case 'h':
      case 'H':
        at_ += 2;
        return Put(negated, "0-9a-fA-F", "");
      case 'v':
        at_ += 2;
        out_ += "\\x0b";
        return base::OkStatus();
      default:
        return Refuse(fmt::format("the escape \\{}", c));
    }
  }

  base::Status Property() {
    bool negated = Peek(1) == 'P';
    const size_t end = in_.find('}', at_);
    if (Peek(2) != '{' || end == std::string_view::npos) return Refuse("\\p without braces");
    std::string name(in_.substr(at_ + 3, end - at_ - 3));
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    if (name.empty() || name.size() > 32) return Refuse("\\p with a name of no or too many letters");
    for (const char c : name)
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') return Refuse("\\p with an unknown name");
    const bool exact = NewerThanPcre(name).empty();
    const std::string status = Category(name);
    at_ = end + 1;
    return Put(negated, status, exact ? "\\P{" + name + "}" : "");
  }

  // \xHH, \x{H…} and \uHHHH.
  base::Status CodePoint() {
    const bool braces = Peek(1) == 'x' && Peek(2) == '{';
    const size_t begin = at_ + (braces ? 3 : 2);
    size_t end = begin;
    const size_t most = braces ? 8 : Peek(1) == 'x' ? 2 : 4;
    while (end < in_.size() && end - begin < most && std::isxdigit(static_cast<unsigned char>(in_[end])))
      ++end;
    if (end == begin || (braces && (end == in_.size() || in_[end] != '}')))
      return Refuse("a code point without digits");
    if (Peek(1) == 'x' && !braces && in_[begin] >= '8' && end - begin == 2)
      return Refuse("a byte that is no ASCII");
    out_ += "\\x{" + std::string(in_.substr(begin, end - begin)) + "}";
    at_ = end + (braces ? 1 : 0);
    return base::OkStatus();
  }

  std::string_view in_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

base::Result<std::string> TranslateOniguruma(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace fusiontree::tokenizer
