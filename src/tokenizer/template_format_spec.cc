#include "tokenizer/template_format_spec.h"

#include <algorithm>
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

Result<FormatSpec> ParseSpec(const std::string& text) {
  FormatSpec spec;
  size_t at = 0;
  const auto peek = [&]() { return at < text.size() ? text[at] : '\0'; };
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    const size_t first = DecodeAt(text, 0).size;
    if (first < text.size() && is_align(text[first])) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      at = first + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0];
      at = 1;
    }
  }
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
  if (peek() == '#') {
    spec.alternate = true;
    ++at;
  }
  if (peek() == '0') {
    spec.zero = true;
    if (spec.align == '\0') {
      spec.align = '=';
      spec.fill = "0";
    }
    ++at;
  }
  const auto number = [&]() -> Result<int64_t> {
    int64_t value = 0;
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + (text[at++] - '0');
      if (value > kMaxFormatWidth)
        return BadInput("a width or precision in a format is above {}", kMaxFormatWidth);
    }
    return value;
  };
  FT_ASSIGN_OR_RETURN(spec.width, number());
  if (peek() == ',' || peek() == '_') spec.grouping = text[at++];
  if (peek() == '.') {
    ++at;
    if (peek() < '0' || peek() > '9') return BadInput("the format '{}' lacks its precision", text);
    FT_ASSIGN_OR_RETURN(spec.precision, number());
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) return BadInput("the format '{}' is not understood", text);
  return spec;
}

Status Pad(TemplateInterpreter& in, const TemplateString& sign, const TemplateString& body,
           const FormatSpec& spec, char default_align, TextBuilder* out) {
  const int64_t size = static_cast<int64_t>(CountCodePoints(sign.text) + CountCodePoints(body.text));
  const int64_t missing = std::max<int64_t>(0, spec.width - size);
  if (missing > kMaxFormatWidth) return BadInput("a width in a format is above {}", kMaxFormatWidth);
  FT_RETURN_IF_ERROR(in.SpendBytes(missing + static_cast<int64_t>(body.text.size())));
  const char align = spec.align == '\0' ? default_align : spec.align;
  const int64_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const auto fill = [&](int64_t n) {
    for (; n > 0; --n) out->Append(spec.fill);
  };
  if (align == '=') out->Append(sign);
  fill(before);
  if (align != '=') out->Append(sign);
  out->Append(body);
  fill(missing - before);
  return OkStatus();
}

std::string Grouped(const std::string& digits, char separator, size_t every) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) out.push_back(separator);
    out.push_back(digits[i]);
  }
  return out;
}

std::string IntegerDigits(uint64_t magnitude, char type) {
  switch (type) {
    case 'b':
      return fmt::format("{:b}", magnitude);
    case 'o':
      return fmt::format("{:o}", magnitude);
    case 'x':
      return fmt::format("{:x}", magnitude);
    case 'X':
      return fmt::format("{:X}", magnitude);
    default:
      return fmt::format("{}", magnitude);
  }
}

// Digits of a non-negative double; `type` is one of eEfFgG%, or 0 for what format() does without one.
std::string RealDigits(double magnitude, char type, std::optional<int64_t> precision, bool alternate) {
  const auto digits = static_cast<int>(precision.value_or(6));
  switch (type) {
    case 'e':
      return alternate ? fmt::format("{:#.{}e}", magnitude, digits)
                       : fmt::format("{:.{}e}", magnitude, digits);
    case 'E':
      return alternate ? fmt::format("{:#.{}E}", magnitude, digits)
                       : fmt::format("{:.{}E}", magnitude, digits);
    case 'f':
      return alternate ? fmt::format("{:#.{}f}", magnitude, digits)
                       : fmt::format("{:.{}f}", magnitude, digits);
    case 'F':
      return fmt::format("{:.{}F}", magnitude, digits);
    case 'g':
      return alternate ? fmt::format("{:#.{}g}", magnitude, digits)
                       : fmt::format("{:.{}g}", magnitude, digits);
    case 'G':
      return fmt::format("{:.{}G}", magnitude, digits);
    case '%':
      return fmt::format("{:.{}f}%", magnitude * 100, digits);
    default:
      break;
  }
  if (!precision.has_value() || !std::isfinite(magnitude)) return FloatRepr(magnitude);
  // Like g, with a digit after the point, and an exponent one digit earlier.
  std::string text = fmt::format("{:.{}g}", magnitude, std::max(digits, 1));
  if (text.find_first_of(".e") != std::string::npos) return text;
  if (static_cast<int>(text.size()) < std::max(digits, 1)) return text + ".0";
  std::string scientific = fmt::format("{:.{}e}", magnitude, std::max(digits, 1) - 1);
  const size_t mark = scientific.find('e');
  size_t keep = mark;
  while (scientific.find('.') < mark && (scientific[keep - 1] == '0' || scientific[keep - 1] == '.')) {
    if (scientific[--keep] == '.') break;
  }
  return scientific.substr(0, keep) + scientific.substr(mark);
}

}  // namespace

Status FormatText(TemplateInterpreter& in, const TemplateString& text, const FormatSpec& spec,
                  TextBuilder* out) {
  if (!spec.precision.has_value()) return Pad(in, {}, text, spec, '<', out);
  const size_t end = ByteOffset(text.text, static_cast<size_t>(*spec.precision));
  return Pad(in, {}, SubText(text, 0, end), spec, '<', out);
}

Status FormatNumber(TemplateInterpreter& in, const TemplateValue& number, const FormatSpec& spec,
                    TextBuilder* out) {
  if (spec.precision.value_or(0) > kMaxFormatPrecision) {
    return BadInput("a number is formatted with more than {} digits", kMaxFormatPrecision);
  }
  TemplateString sign;
  TemplateString body;
  bool negative = false;
  const bool whole =
      number.is_integer() && std::string_view("eEfFgG%").find(spec.type) == std::string_view::npos;
  if (whole || (number.is_integer() && spec.type == '\0')) {
    if (spec.precision.has_value()) return BadInput("an integer is formatted with a precision");
    if (std::string_view("\0dbnoxXc", 8).find(spec.type) == std::string_view::npos) {
      return BadInput("an integer has no format '{}'", spec.type);
    }
    const int64_t value = number.integer();
    negative = value < 0;
    const uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    body.text = IntegerDigits(magnitude, spec.type);
    if (static_cast<int64_t>(body.text.size()) < spec.least_digits) {
      body.text.insert(0, static_cast<size_t>(spec.least_digits) - body.text.size(), '0');
    }
    if (spec.alternate && std::string_view("boxX").find(spec.type) != std::string_view::npos &&
        spec.type != '\0') {
      sign.text = {'0', spec.type};
    }
    if (spec.grouping != '\0')
      body.text = Grouped(body.text, spec.grouping, spec.type == 'd' || spec.type == '\0' ? 3 : 4);
  } else {
    if (spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) == std::string_view::npos) {
      return BadInput("a float has no format '{}'", spec.type);
    }
    const double value = number.number();
    negative = std::signbit(value) && !std::isnan(value);
    body.text = RealDigits(std::abs(value), spec.type, spec.precision, spec.alternate);
    if (spec.grouping != '\0') {
      const size_t end = std::min(body.text.find_first_not_of("0123456789"), body.text.size());
      body.text = Grouped(body.text.substr(0, end), spec.grouping, 3) + body.text.substr(end);
    }
  }
  if (negative) {
    sign.text.insert(0, "-");
  } else if (spec.sign != '-') {
    sign.text.insert(0, 1, spec.sign);
  }
  return Pad(in, sign, body, spec, '>', out);
}

Status FormatValue(TemplateInterpreter& in, const TemplateValue& value, const std::string& spec_text,
                   TextBuilder* out) {
  if (spec_text.empty()) return AppendStr(in, value, out);
  FT_ASSIGN_OR_RETURN(FormatSpec spec, ParseSpec(spec_text));
  if (value.is_number()) return FormatNumber(in, value, spec, out);
  if (!value.is_string())
    return BadInput("a value of type {} has no format '{}'", value.TypeName(), spec_text);
  if ((spec.type != '\0' && spec.type != 's') || spec.sign != '-' || spec.grouping != '\0' ||
      spec.alternate || (spec.align == '=' && !spec.zero)) {
    return BadInput("a string has no format '{}'", spec_text);
  }
  if (spec.align == '=') spec.align = '<';  // {:05} pads strings on the right, with zeros
  return FormatText(in, value.string(), spec, out);
}

}  // namespace fusiontree::tokenizer
