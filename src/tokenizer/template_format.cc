// "..." % values and "...".format(...).
#include <algorithm>
#include <cmath>
#include <utility>

#include "tokenizer/template_format_spec.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

class PercentFormatter {
 public:
  PercentFormatter(TemplateInterpreter& in, const TemplateString& format, const TemplateValue& value)
      : in_(in), format_(format), f_(format.text), value_(value) {}

  Result<TemplateValue> Run() {
    TextBuilder out = in_.NewText();
    while (at_ < f_.size()) {
      const size_t mark = std::min(f_.find('%', at_), f_.size());
      out.Append(format_, at_, mark);
      at_ = mark;
      if (at_ == f_.size()) break;
      ++at_;
      FT_RETURN_IF_ERROR(Field(&out));
    }
    const bool lookup = value_.is(Kind::kDict) || value_.is(Kind::kList) || value_.is_undefined();
    if (!lookup && next_ < (value_.is(Kind::kTuple) ? value_.items().size() : 1)) {
      return BadInput("not all values are used by the format");
    }
    return in_.MakeString(&out);
  }

 private:
  char Peek() const { return at_ < f_.size() ? f_[at_] : '\0'; }

  Result<TemplateValue> NextValue() {
    if (value_.is(Kind::kTuple)) {
      if (next_ < value_.items().size()) return value_.items()[next_++];
    } else if (next_++ == 0) {
      return value_;
    }
    return BadInput("the format needs more values than it is given");
  }

  Result<int64_t> Number() {
    if (Peek() == '*') {
      ++at_;
      FT_ASSIGN_OR_RETURN(const TemplateValue value, NextValue());
      if (!value.is_integer()) return BadInput("a width of '*' needs an integer");
      return value.integer();
    }
    int64_t number = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      number = number * 10 + (f_[at_++] - '0');
      if (number > kMaxFormatWidth)
        return BadInput("a width or precision in a format is above {}", kMaxFormatWidth);
    }
    return number;
  }

  Status Field(TextBuilder* out) {
    FT_RETURN_IF_ERROR(in_.Step());
    std::optional<TemplateValue> named;
    if (Peek() == '(') {
      const size_t close = f_.find(')', at_);
      if (close == std::string::npos) return BadInput("a key in the format has no ')'");
      if (!value_.is(Kind::kDict)) return BadInput("a format with keys needs a dict");
      const TemplateValue* found = value_.dict().Find(f_.substr(at_ + 1, close - at_ - 1));
      if (found == nullptr)
        return BadInput("the format's key '{}' is missing", f_.substr(at_ + 1, close - at_ - 1));
      named = *found;
      at_ = close + 1;
    }
    FormatSpec spec;
    spec.align = '>';
    for (;; ++at_) {
      if (Peek() == '-') {
        spec.align = '<';
      } else if (Peek() == '0') {
        spec.zero = true;
      } else if (Peek() == '+' || (Peek() == ' ' && spec.sign != '+')) {
        spec.sign = Peek();
      } else if (Peek() == '#') {
        spec.alternate = true;
      } else if (Peek() != ' ') {
        break;
      }
    }
    FT_ASSIGN_OR_RETURN(spec.width, Number());
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = spec.width == INT64_MIN ? INT64_MAX : -spec.width;
    }
    if (Peek() == '.') {
      ++at_;
      FT_ASSIGN_OR_RETURN(const int64_t precision, Number());
      spec.precision = std::max<int64_t>(precision, 0);
    }
    if (Peek() == 'l' || Peek() == 'h' || Peek() == 'L') ++at_;
    const char type = Peek();
    ++at_;
    if (type == '%') {
      out->Append("%");
      return OkStatus();
    }
    if (type == '\0' || std::string_view("diouxXeEfFgGcrsa").find(type) == std::string_view::npos) {
      return BadInput("the format has an unknown or incomplete field");
    }
    TemplateValue value;
    if (named.has_value()) {
      value = std::move(*named);
    } else {
      FT_ASSIGN_OR_RETURN(value, NextValue());
    }
    return Convert(value, type, spec, out);
  }

  Status Convert(const TemplateValue& value, char type, FormatSpec spec, TextBuilder* out) {
    if (type == 's' || type == 'r' || type == 'a' || type == 'c') {
      spec.zero = false;
      if (type == 'c') return Character(value, spec, out);
      TextBuilder text = in_.NewText();
      FT_RETURN_IF_ERROR(type == 's' ? AppendStr(in_, value, &text) : AppendRepr(in_, value, &text));
      spec.type = 's';
      return FormatText(in_, text.Take(), spec, out);
    }
    if (value.is_undefined()) return BadInput("{}", value.why());
    if (!value.is_number())
      return BadInput("%{} needs a number, not a value of type {}", type, value.TypeName());
    // The sign-aware zeros of %05d; a left-aligned field has none.
    if (spec.zero && spec.align != '<') {
      spec.align = '=';
      spec.fill = "0";
    }
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    if (std::string_view("doxX").find(spec.type) == std::string_view::npos) {
      if (!spec.precision.has_value()) spec.precision = 6;
      return FormatNumber(in_, TemplateValue::Float(value.number()), spec, out);
    }
    TemplateValue whole = value;
    if (value.is(Kind::kFloat)) {
      if (spec.type != 'd') return BadInput("%{} needs an integer", type);
      if (!(std::abs(value.number()) < 0x1p63))
        return BadInput("{} does not fit in 64 bits", FloatRepr(value.number()));
      whole = TemplateValue::Int(static_cast<int64_t>(value.number()));
    }
    spec.least_digits = std::exchange(spec.precision, std::nullopt).value_or(0);
    return FormatNumber(in_, whole, spec, out);
  }

  Status Character(const TemplateValue& value, FormatSpec spec, TextBuilder* out) {
    spec.type = 's';
    spec.precision.reset();
    if (value.is_string() && CountCodePoints(value.text()) == 1)
      return FormatText(in_, value.string(), spec, out);
    if (!value.is_integer() || value.integer() < 0 || value.integer() > 0x10FFFF ||
        (value.integer() >= 0xD800 && value.integer() < 0xE000)) {
      return BadInput("%c needs one character or its number");
    }
    TemplateString text;
    AppendUtf8(static_cast<uint32_t>(value.integer()), &text.text);
    return FormatText(in_, std::move(text), spec, out);
  }

  TemplateInterpreter& in_;
  const TemplateString& format_;
  const std::string& f_;
  const TemplateValue& value_;
  size_t at_ = 0;
  size_t next_ = 0;
};

class BraceFormatter {
 public:
  BraceFormatter(TemplateInterpreter& in, const TemplateString& format, const CallArguments& arguments)
      : in_(in), format_(format), f_(format.text), arguments_(arguments) {}

  Result<TemplateValue> Run() {
    TextBuilder out = in_.NewText();
    size_t at = 0;
    while (at < f_.size()) {
      const size_t mark = std::min(f_.find_first_of("{}", at), f_.size());
      out.Append(format_, at, mark);
      if (mark == f_.size()) break;
      if (mark + 1 < f_.size() && f_[mark + 1] == f_[mark]) {
        out.Append(format_, mark, mark + 1);
        at = mark + 2;
        continue;
      }
      if (f_[mark] == '}') return BadInput("the format has a single '}}'");
      FT_ASSIGN_OR_RETURN(at, Field(mark + 1, &out));
    }
    return in_.MakeString(&out);
  }

 private:
  // The field that begins at byte `begin`; returns the byte after its '}'.
  Result<size_t> Field(size_t begin, TextBuilder* out) {
    FT_RETURN_IF_ERROR(in_.Step());
    int depth = 1;
    size_t end = begin;
    for (; end < f_.size(); ++end) {
      depth += f_[end] == '{' ? 1 : f_[end] == '}' ? -1 : 0;
      if (depth == 0) break;
    }
    if (end == f_.size()) return BadInput("the format has a '{{' without its '}}'");
    const std::string field = f_.substr(begin, end - begin);
    size_t name_end = 0;
    for (bool bracket = false; name_end < field.size(); ++name_end) {
      const char c = field[name_end];
      if (c == '[') bracket = true;
      if (c == ']') bracket = false;
      if (!bracket && (c == '!' || c == ':')) break;
    }
    FT_ASSIGN_OR_RETURN(TemplateValue value, Resolve(field.substr(0, name_end)));
    size_t at = name_end;
    char conversion = '\0';
    if (at < field.size() && field[at] == '!') {
      if (at + 1 >= field.size() || (at + 2 < field.size() && field[at + 2] != ':')) {
        return BadInput("the format has an unknown conversion");
      }
      conversion = field[at + 1];
      at += 2;
    }
    std::string spec;
    if (at < field.size()) {
      FT_ASSIGN_OR_RETURN(spec, Nested(field.substr(at + 1)));
    }
    if (conversion != '\0') {
      if (std::string_view("sra").find(conversion) == std::string_view::npos) {
        return BadInput("the format has an unknown conversion '!{}'", conversion);
      }
      TextBuilder text = in_.NewText();
      FT_RETURN_IF_ERROR(conversion == 's' ? AppendStr(in_, value, &text) : AppendRepr(in_, value, &text));
      FT_ASSIGN_OR_RETURN(value, in_.MakeString(&text));
    }
    FT_RETURN_IF_ERROR(FormatValue(in_, value, spec, out));
    return end + 1;
  }

  // A specification may hold fields of its own, one level deep.
  Result<std::string> Nested(const std::string& spec) {
    if (spec.find('{') == std::string::npos) return spec;
    std::string text;
    for (size_t at = 0; at < spec.size();) {
      const size_t open = std::min(spec.find('{', at), spec.size());
      text += spec.substr(at, open - at);
      if (open == spec.size()) break;
      const size_t close = spec.find('}', open);
      if (close == std::string::npos) return BadInput("the format has a '{{' without its '}}'");
      FT_ASSIGN_OR_RETURN(const TemplateValue value, Resolve(spec.substr(open + 1, close - open - 1)));
      FT_ASSIGN_OR_RETURN(const TemplateString part, Str(in_, value));
      text += part.text;
      at = close + 1;
    }
    return text;
  }

  static bool IsNumber(const std::string& text) {
    return !text.empty() && text.size() < 10 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  }

  Result<TemplateValue> Resolve(const std::string& name) {
    size_t at = std::min(name.find_first_of(".["), name.size());
    std::string first = name.substr(0, at);
    if (first.empty()) first = fmt::format("{}", automatic_++);
    TemplateValue value;
    if (IsNumber(first)) {
      const auto i = static_cast<size_t>(std::stoul(first));
      if (i >= arguments_.positional.size()) return BadInput("the format needs a positional argument {}", i);
      value = arguments_.positional[i];
    } else {
      const auto found = std::find_if(arguments_.named.begin(), arguments_.named.end(),
                                      [&](const auto& entry) { return entry.first == first; });
      if (found == arguments_.named.end()) return BadInput("the format needs an argument named '{}'", first);
      value = found->second;
    }
    while (at < name.size()) {
      const bool attribute = name[at] == '.';
      const size_t end =
          attribute ? std::min(name.find_first_of(".[", at + 1), name.size()) : name.find(']', at);
      if ((!attribute && name[at] != '[') || end == std::string::npos || end == at + 1) {
        return BadInput("the format's field '{}' is not understood", name);
      }
      const std::string key = name.substr(at + 1, end - at - 1);
      if (attribute) {
        FT_ASSIGN_OR_RETURN(value, in_.GetAttribute(value, key));
      } else {
        FT_ASSIGN_OR_RETURN(value, in_.GetItem(value, IsNumber(key) ? TemplateValue::Int(std::stol(key))
                                                                    : TemplateValue::String(key)));
      }
      at = attribute ? end : end + 1;
    }
    return value;
  }

  TemplateInterpreter& in_;
  const TemplateString& format_;
  const std::string& f_;
  const CallArguments& arguments_;
  size_t automatic_ = 0;
};

}  // namespace

Result<TemplateValue> PercentFormat(TemplateInterpreter& in, const TemplateString& format,
                                    const TemplateValue& value) {
  return PercentFormatter(in, format, value).Run();
}

Result<TemplateValue> BraceFormat(TemplateInterpreter& in, const TemplateString& format,
                                  const CallArguments& arguments) {
  return BraceFormatter(in, format, arguments).Run();
}

}  // namespace fusiontree::tokenizer
