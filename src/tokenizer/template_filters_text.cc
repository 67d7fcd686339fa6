// Filters on text and numbers.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_filters.h"
#include "tokenizer/template_methods.h"
#include "tokenizer/template_named.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {
namespace {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;
using In = TemplateInterpreter;
using Args = CallArguments;

// soft_str(value).method(arguments)
template <const char* kMethod, size_t kMaxArguments>
Result<TemplateValue> AsMethod(In& in, const TemplateValue& value, const Args& arguments) {
  if (arguments.positional.size() + arguments.named.size() > kMaxArguments) {
    return BadInput("the filter '{}' takes at most {} arguments", kMethod, kMaxArguments);
  }
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  Args positional = arguments;
  for (auto& [name, argument] : positional.named) positional.positional.push_back(std::move(argument));
  positional.named.clear();
  return FindCaseMethod(kMethod)(in, text, positional);
}
constexpr char kUpper[] = "upper";
constexpr char kLower[] = "lower";
constexpr char kCapitalize[] = "capitalize";

Result<TemplateValue> Trim(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'trim'", arguments, {"chars"}));
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  Args chars;
  if (args.Has(0)) chars.positional.push_back(*args[0]);
  return FindCaseMethod("strip")(in, text, chars);
}

Result<TemplateValue> String(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'string'", arguments, {}).status());
  if (value.is_string()) return value;
  FT_ASSIGN_OR_RETURN(TemplateString text, Str(in, value));
  return in.MakeString(std::move(text));
}

Result<TemplateValue> Safe(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'safe'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(TemplateString text, Str(in, value));
  text.markup = true;
  return in.MakeString(std::move(text));
}

Result<TemplateValue> Escape(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'escape'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  return in.MakeString(Escaped(text));
}

Result<TemplateValue> Replace(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'replace'", arguments, {"old", "new", "count"}, 2));
  FT_ASSIGN_OR_RETURN(TemplateString text, Str(in, value));
  FT_ASSIGN_OR_RETURN(const TemplateString old_text, Str(in, *args[0]));
  FT_ASSIGN_OR_RETURN(const TemplateString new_text, Str(in, *args[1]));
  FT_ASSIGN_OR_RETURN(const int64_t count, args.HasValue(2) ? args.Integer(2, -1) : Result<int64_t>(-1));
  text.markup = false;
  return ReplaceText(in, text, old_text, new_text, count);
}

// Jinja's own: a word begins after space, - ( { [ or <.
Result<TemplateValue> Title(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'title'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 16));
  const std::string_view t = text.text;
  const auto separates = [&](size_t at) {
    const uint32_t cp = DecodeAt(t, at).value;
    return cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || IsSpace(cp);
  };
  std::string out;
  for (size_t at = 0; at < t.size();) {
    size_t end = at;
    const bool gap = separates(at);
    while (end < t.size() && separates(end) == gap) end += DecodeAt(t, end).size;
    const size_t first = DecodeAt(t, at).size;
    out += Upper(t.substr(at, first)) + Lower(t.substr(at + first, end - at - first));
    at = end;
  }
  return in.MakeString(Derived(std::move(out), text));
}

Result<TemplateValue> Indent(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'indent'", arguments, {"width", "first", "blank"}));
  if (!value.is_string()) return BadInput("the filter 'indent' needs a string, not {}", value.TypeName());
  TemplateString indention;
  if (args.Has(0) && args[0]->is_string()) {
    indention = args[0]->string();
  } else {
    FT_ASSIGN_OR_RETURN(const int64_t width, args.Integer(0, 4));
    if (width > static_cast<int64_t>(in.limits().value_bytes))
      return BadInput("indent by {} is too much", width);
    indention.text.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  TextBuilder with_end = in.NewText();
  with_end.Append(value.string());
  with_end.Append("\n");
  FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> lines, SplitLines(in, with_end.Take(), false));
  TextBuilder out = in.NewText();
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.Append("\n");
    const bool indented = i == 0 ? args.Flag(1) : args.Flag(2) || !lines[i].text().empty();
    if (indented) out.Append(indention);
    out.Append(lines[i].string());
  }
  return in.MakeString(&out);
}

Result<TemplateValue> Truncate(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(
      const BoundArguments args,
      BoundArguments::Bind("the filter 'truncate'", arguments, {"length", "killwords", "end", "leeway"}));
  FT_ASSIGN_OR_RETURN(const int64_t length, args.Integer(0, 255));
  FT_ASSIGN_OR_RETURN(const TemplateString end, args.Text(2, "..."));
  FT_ASSIGN_OR_RETURN(const int64_t leeway, args.HasValue(3) ? args.Integer(3, 5) : Result<int64_t>(5));
  const auto end_size = static_cast<int64_t>(CountCodePoints(end.text));
  if (length < end_size || leeway < 0) return BadInput("truncate to {} characters is not possible", length);
  FT_ASSIGN_OR_RETURN(const int64_t size, LengthOf(in, value));
  if (size - length <= leeway) return value;
  if (!value.is_string()) return BadInput("the filter 'truncate' needs a string, not {}", value.TypeName());
  const TemplateString& text = value.string();
  size_t keep = ByteOffset(text.text, static_cast<size_t>(length - end_size));
  if (!args.Flag(1)) keep = std::min(keep, std::string_view(text.text).substr(0, keep).rfind(' '));
  TextBuilder out = in.NewText();
  out.Append(text, 0, keep);
  out.Append(end);
  return in.MakeString(&out);
}

Result<TemplateValue> Center(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'center'", arguments, {"width"}));
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  FT_ASSIGN_OR_RETURN(const int64_t width, args.Integer(0, 80));
  return CenterText(in, text, width, TemplateString{" ", {}, false});
}

Result<TemplateValue> WordCount(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'wordcount'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 16));
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text.text.size();) {
    const CodePoint c = DecodeAt(text.text, at);
    const bool word = c.value == '_' || IsAlpha(c.value) || IsNumeric(c.value);
    count += word && !inside;
    inside = word;
    at += c.size;
  }
  return TemplateValue::Int(count);
}

Result<TemplateValue> Format(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  if (!arguments.named.empty()) {
    if (!arguments.positional.empty())
      return BadInput("the filter 'format' takes positional or named values");
    auto dict = std::make_shared<TemplateDict>();
    for (const auto& [name, argument] : arguments.named) {
      FT_RETURN_IF_ERROR(in.SetItem(dict.get(), TemplateValue::String(name), argument));
    }
    return PercentFormat(in, text, TemplateValue::Dict(std::move(dict)));
  }
  return PercentFormat(in, text, TemplateValue::Tuple(arguments.positional));
}

Result<TemplateValue> UrlEncode(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'urlencode'", arguments, {}).status());
  if (IsIterable(value) && !value.is_string() && !value.is_undefined())
    return BadInput("urlencode of a {} is not available", value.TypeName());
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  std::string out;
  for (const char c : text.text) {
    const bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                       std::string_view("_.-~/").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<uint8_t>(c));
  }
  return in.MakeString(Derived(std::move(out), text));
}

Result<TemplateValue> ToJsonFilter(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'tojson'", arguments,
                                           {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = args.Flag(0);
  style.sort_keys = args.Flag(3);
  if (args.HasValue(1)) {
    style.item_separator = ",";
    if (args[1]->is_string()) {
      style.indent = args[1]->text();
    } else {
      FT_ASSIGN_OR_RETURN(const int64_t width, args.Integer(1, 0));
      if (width > 1000) return BadInput("tojson cannot indent by {}", width);
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  if (args.HasValue(2)) {
    FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> parts, in.Collect(*args[2]));
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      return BadInput("tojson needs two strings as separators");
    }
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  return ToJson(in, value, style);
}

// An integer from a double, as int() cuts it off.
Result<TemplateValue> CutOff(double real) {
  if (!(std::abs(real) < 0x1p63)) return BadInput("{} does not fit in a 64-bit integer", FloatRepr(real));
  return TemplateValue::Int(static_cast<int64_t>(real));
}

Result<TemplateValue> Int(In&, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'int'", arguments, {"default", "base"}));
  const TemplateValue otherwise = args.Has(0) ? *args[0] : TemplateValue::Int(0);
  if (value.is_undefined()) return BadInput("{}", value.why());
  if (value.is_integer()) return TemplateValue::Int(value.integer());
  if (value.is(Kind::kFloat)) return std::isnan(value.number()) ? otherwise : CutOff(value.number());
  if (!value.is_string()) return otherwise;
  FT_ASSIGN_OR_RETURN(const int64_t base_value, args.Integer(1, 10));
  if (base_value == 0 || (base_value >= 2 && base_value <= 36)) {
    FT_ASSIGN_OR_RETURN(const std::optional<int64_t> number,
                        ParseInteger(value.text(), static_cast<int>(base_value)));
    if (number.has_value()) return TemplateValue::Int(*number);
  }
  const std::optional<double> real = ParseReal(value.text());
  if (!real.has_value() || std::isnan(*real)) return otherwise;
  return CutOff(*real);
}

Result<TemplateValue> Float(In&, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'float'", arguments, {"default"}));
  if (value.is_undefined()) return BadInput("{}", value.why());
  if (value.is_number()) return TemplateValue::Float(value.number());
  const std::optional<double> real = value.is_string() ? ParseReal(value.text()) : std::nullopt;
  if (real.has_value()) return TemplateValue::Float(*real);
  return args.Has(0) ? *args[0] : TemplateValue::Float(0);
}

Result<TemplateValue> Abs(In&, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'abs'", arguments, {}).status());
  if (value.is(Kind::kFloat)) return TemplateValue::Float(std::abs(value.number()));
  if (!value.is_integer()) return BadInput("the filter 'abs' needs a number, not {}", value.TypeName());
  return value.integer() < 0 ? Negate(value) : Result<TemplateValue>(TemplateValue::Int(value.integer()));
}

Result<TemplateValue> Round(In&, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'round'", arguments, {"precision", "method"}));
  FT_ASSIGN_OR_RETURN(const int64_t precision, args.Integer(0, 0));
  FT_ASSIGN_OR_RETURN(const TemplateString method, args.Text(1, "common"));
  if (value.is_undefined()) return BadInput("{}", value.why());
  if (!value.is_number()) return BadInput("the filter 'round' needs a number, not {}", value.TypeName());
  if (precision < 0 || precision > 300) return BadInput("round to {} decimals is not available", precision);
  if (method.text == "common") {
    if (value.is_integer()) return TemplateValue::Int(value.integer());
    return TemplateValue::Float(RoundDecimals(value.number(), static_cast<int>(precision)));
  }
  if (method.text != "ceil" && method.text != "floor") return BadInput("round knows common, ceil and floor");
  // func(value * 10**precision) / 10**precision, where func gives an integer.
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.number() * scale;
  if (!std::isfinite(scaled)) return BadInput("{} cannot be rounded", FloatRepr(value.number()));
  return TemplateValue::Float((method.text == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale + 0.0);
}

constexpr Named<TemplateFilter> kFilters[] = {
    {"upper", AsMethod<kUpper, 0>},
    {"lower", AsMethod<kLower, 0>},
    {"capitalize", AsMethod<kCapitalize, 0>},
    {"trim", Trim},
    {"string", String},
    {"safe", Safe},
    {"e", Escape},
    {"escape", Escape},
    {"forceescape", Escape},
    {"replace", Replace},
    {"title", Title},
    {"indent", Indent},
    {"truncate", Truncate},
    {"center", Center},
    {"wordcount", WordCount},
    {"format", Format},
    {"urlencode", UrlEncode},
    {"tojson", ToJsonFilter},
    {"int", Int},
    {"float", Float},
    {"abs", Abs},
    {"round", Round},
};

}  // namespace

TemplateFilter FindTextFilter(std::string_view name) { return FindNamed(kFilters, name); }

}  // namespace fusiontree::tokenizer
