// str() and repr() of template values.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

void AppendQuoted(const TemplateString& s, TextBuilder* out) {
  const bool has_single = s.text.find('\'') != std::string::npos;
  const char quote = has_single && s.text.find('"') == std::string::npos ? '"' : '\'';
  out->Append(std::string_view(&quote, 1));
  size_t plain = 0;  // start of what can be copied as it is
  for (size_t at = 0; at < s.text.size();) {
    const CodePoint c = DecodeAt(s.text, at);
    std::string escape;
    if (c.value == static_cast<uint32_t>(quote) || c.value == '\\') {
      escape = {'\\', static_cast<char>(c.value)};
    } else if (c.value == '\n') {
      escape = "\\n";
    } else if (c.value == '\r') {
      escape = "\\r";
    } else if (c.value == '\t') {
      escape = "\\t";
    } else if (c.value < 0x20 || c.value == 0x7F || (c.value >= 0x80 && !IsPrintable(c.value))) {
      escape = c.value < 0x100     ? fmt::format("\\x{:02x}", c.value)
               : c.value < 0x10000 ? fmt::format("\\u{:04x}", c.value)
                                   : fmt::format("\\U{:08x}", c.value);
    }
    if (!escape.empty()) {
      out->Append(s, plain, at);
      out->Append(escape, !s.data.empty());
      plain = at + c.size;
    }
    at += c.size;
  }
  out->Append(s, plain, s.text.size());
  out->Append(std::string_view(&quote, 1));
}

class ReprWriter {
 public:
  ReprWriter(TemplateInterpreter& in, TextBuilder* out) : in_(in), out_(out) {}

  Status Write(const TemplateValue& value) {
    // Namespaces can hold what holds them, so depth is counted here as well.
    if (depth_ > kMaxTemplateValueDepth) {
      return BadInput("the printed value nests deeper than {} levels", kMaxTemplateValueDepth);
    }
    FT_RETURN_IF_ERROR(in_.Step());
    if (out_->full()) return BadInput("the printed value is longer than allowed");
    ++depth_;
    const Status status = WriteNode(value);
    --depth_;
    return status;
  }

 private:
  Status WriteNode(const TemplateValue& value) {
    switch (value.kind()) {
      case Kind::kUndefined:
        out_->Append("Undefined");
        return OkStatus();
      case Kind::kNone:
        out_->Append("None");
        return OkStatus();
      case Kind::kBool:
        out_->Append(value.boolean() ? "True" : "False");
        return OkStatus();
      case Kind::kInt:
        out_->Append(fmt::format("{}", value.integer()));
        return OkStatus();
      case Kind::kFloat:
        out_->Append(FloatRepr(value.number()));
        return OkStatus();
      case Kind::kString:
        FT_RETURN_IF_ERROR(in_.Step(static_cast<int64_t>(value.text().size()) / 16));
        if (value.string().markup) out_->Append("Markup(");
        AppendQuoted(value.string(), out_);
        if (value.string().markup) out_->Append(")");
        return OkStatus();
      case Kind::kList:
        return WriteItems("[", value.items(), "]");
      case Kind::kTuple:
        return WriteItems("(", value.items(), value.items().size() == 1 ? ",)" : ")");
      case Kind::kDict:
        return WriteDict(value.dict());
      case Kind::kObject:
        return WriteObject(value);
    }
    return OkStatus();
  }

  Status WriteItems(const char* open, const std::vector<TemplateValue>& items, const char* close) {
    out_->Append(open);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_->Append(", ");
      FT_RETURN_IF_ERROR(Write(items[i]));
    }
    out_->Append(close);
    return OkStatus();
  }

  Status WriteDict(const TemplateDict& dict) {
    out_->Append("{");
    for (size_t i = 0; i < dict.items().size(); ++i) {
      if (i > 0) out_->Append(", ");
      FT_RETURN_IF_ERROR(Write(dict.items()[i].first));
      out_->Append(": ");
      FT_RETURN_IF_ERROR(Write(dict.items()[i].second));
    }
    out_->Append("}");
    return OkStatus();
  }

  Status WriteObject(const TemplateValue& value) {
    if (const auto range = value.As<RangeObject>()) {
      out_->Append(fmt::format("range({}, {}", range->start, range->stop));
      out_->Append(range->step == 1 ? std::string(")") : fmt::format(", {})", range->step));
    } else if (const auto view = value.As<DictViewObject>()) {
      std::vector<TemplateValue> items;
      for (size_t i = 0; i < view->size(); ++i) items.push_back(view->At(i));
      FT_RETURN_IF_ERROR(in_.SpendBytes(static_cast<int64_t>(items.size()) * 64));
      out_->Append(view->TypeName());
      return WriteItems("([", items, "])");
    } else if (const auto space = value.As<NamespaceObject>()) {
      out_->Append("<Namespace ");
      FT_RETURN_IF_ERROR(WriteDict(*space->attributes));
      out_->Append(">");
    } else if (const auto macro = value.As<MacroObject>()) {
      out_->Append(macro->syntax->name.empty() ? "<Macro anonymous>"
                                               : "<Macro '" + macro->syntax->name + "'>");
    } else if (const auto loop = value.As<LoopObject>()) {
      FT_ASSIGN_OR_RETURN(const int64_t length, loop->Length(in_));
      out_->Append(fmt::format("<LoopContext {}/{}>", loop->index0 + 1, length));
    } else {
      out_->Append(fmt::format("<{} object>", value.TypeName()));  // Python prints an address
    }
    return OkStatus();
  }

  TemplateInterpreter& in_;
  TextBuilder* out_;
  int depth_ = 0;
};

}  // namespace

// The shortest digits that read back as the same double, laid out as Python does.
std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view written(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t mark = written.find('e');
  int exponent = 0;
  const char* digits_begin = written.data() + mark + 1 + (written[mark + 1] == '+');
  std::from_chars(digits_begin, end, exponent);
  const bool negative = written[0] == '-';
  std::string digits(written.substr(negative, mark - negative));
  std::erase(digits, '.');
  const auto count = static_cast<int>(digits.size());
  std::string text;
  if (exponent < -4 || exponent >= 16) {
    text = digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "") +
           fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  } else if (exponent < 0) {
    text = "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  } else if (exponent + 1 >= count) {
    text = digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  } else {
    text = digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
           digits.substr(static_cast<size_t>(exponent) + 1);
  }
  return negative ? "-" + text : text;
}

double RoundDecimals(double value, int digits) {
  constexpr int kAllDecimals = 323;  // of the smallest double
  if (!std::isfinite(value) || digits > kAllDecimals) return value;
  const std::string text = fmt::format("{:.{}f}", value, digits);
  double rounded = value;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

Status AppendRepr(TemplateInterpreter& in, const TemplateValue& value, TextBuilder* out) {
  return ReprWriter(in, out).Write(value);
}

Status AppendStr(TemplateInterpreter& in, const TemplateValue& value, TextBuilder* out) {
  if (value.is_string()) {
    out->Append(value.string());
    return in.Step(static_cast<int64_t>(value.text().size()) / 64);
  }
  if (value.is_undefined()) return OkStatus();
  return AppendRepr(in, value, out);
}

Result<TemplateString> Str(TemplateInterpreter& in, const TemplateValue& value) {
  if (value.is_string()) return value.string();
  TextBuilder text = in.NewText();
  FT_RETURN_IF_ERROR(AppendStr(in, value, &text));
  if (text.full())
    return BadInput("the printed value is longer than the {} bytes allowed", in.limits().value_bytes);
  return text.Take();
}

}  // namespace fusiontree::tokenizer
