// str's methods that change case, strip, pad and ask about characters.
#include <algorithm>
#include <iterator>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_methods.h"
#include "tokenizer/template_named.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;

namespace {

using In = TemplateInterpreter;
using Text = TemplateString;
using Args = CallArguments;

Status NoArguments(const Args& arguments) {
  return BoundArguments::Bind("the method", arguments, {}).status();
}

template <std::string (*kChange)(std::string_view)>
Result<TemplateValue> Changed(In& in, const Text& text, const Args& arguments) {
  FT_RETURN_IF_ERROR(NoArguments(arguments));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 16));
  return in.MakeString(Derived(kChange(text.text), text));
}

// Python's is...: every code point qualifies and there is one.
template <bool (*kQualifies)(uint32_t)>
Result<TemplateValue> All(In& in, const Text& text, const Args& arguments) {
  FT_RETURN_IF_ERROR(NoArguments(arguments));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 16));
  for (size_t at = 0; at < text.text.size();) {
    const CodePoint c = DecodeAt(text.text, at);
    if (!kQualifies(c.value)) return TemplateValue::Bool(false);
    at += c.size;
  }
  return TemplateValue::Bool(!text.text.empty());
}

bool IsAlnum(uint32_t cp) { return IsAlpha(cp) || IsNumeric(cp); }
// Nd and the superscript, subscript and circled digits.
bool IsDigit(uint32_t cp) {
  return IsDecimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 ||
         (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468) ||
         (cp >= 0x2474 && cp <= 0x247C) || (cp >= 0x2488 && cp <= 0x2490) || (cp >= 0x2776 && cp <= 0x277E);
}

// isupper, islower: cased characters are all of one case, and there is one.
template <bool (*kRight)(uint32_t)>
Result<TemplateValue> OneCase(In& in, const Text& text, const Args& arguments) {
  FT_RETURN_IF_ERROR(NoArguments(arguments));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 16));
  bool found = false;
  for (size_t at = 0; at < text.text.size();) {
    const CodePoint c = DecodeAt(text.text, at);
    if (IsCased(c.value) && !kRight(c.value)) return TemplateValue::Bool(false);
    found |= IsCased(c.value);
    at += c.size;
  }
  return TemplateValue::Bool(found);
}

Result<TemplateValue> IsTitle(In& in, const Text& text, const Args& arguments) {
  FT_RETURN_IF_ERROR(NoArguments(arguments));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 16));
  bool after_cased = false;
  bool found = false;
  for (size_t at = 0; at < text.text.size();) {
    const CodePoint c = DecodeAt(text.text, at);
    if (IsLower(c.value) ? !after_cased : IsCased(c.value) && after_cased) return TemplateValue::Bool(false);
    after_cased = IsCased(c.value);
    found |= after_cased;
    at += c.size;
  }
  return TemplateValue::Bool(found);
}

Result<TemplateValue> IsAscii(In&, const Text& text, const Args& arguments) {
  FT_RETURN_IF_ERROR(NoArguments(arguments));
  return TemplateValue::Bool(
      std::all_of(text.text.begin(), text.text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; }));
}

template <bool kLeft, bool kRight>
Result<TemplateValue> Strip(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("strip", arguments, {""}));
  FT_ASSIGN_OR_RETURN(const Text chars, args.HasValue(0) ? args.Text(0, "") : Result<Text>(Text()));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 64));
  const Span kept = StripRange(text.text, args.HasValue(0) ? &chars.text : nullptr, kLeft, kRight);
  return in.MakeString(SubText(text, kept.begin, kept.end));
}

Result<Text> FillOf(const BoundArguments& args, size_t i) {
  FT_ASSIGN_OR_RETURN(Text fill, args.Text(i, " "));
  if (CountCodePoints(fill.text) != 1) return BadInput("the fill must be one character");
  return fill;
}

template <bool kLeft>
Result<TemplateValue> Justify(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("the method", arguments, {"", ""}, 1));
  FT_ASSIGN_OR_RETURN(const int64_t width, args.Integer(0, 0));
  FT_ASSIGN_OR_RETURN(const Text fill, FillOf(args, 1));
  const auto size = static_cast<int64_t>(CountCodePoints(text.text));
  const int64_t missing = width > size ? width - size : 0;
  return PadText(in, text, kLeft ? 0 : missing, kLeft ? missing : 0, fill);
}

Result<TemplateValue> Center(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("center", arguments, {"", ""}, 1));
  FT_ASSIGN_OR_RETURN(const int64_t width, args.Integer(0, 0));
  FT_ASSIGN_OR_RETURN(const Text fill, FillOf(args, 1));
  return CenterText(in, text, width, fill);
}

Result<TemplateValue> ZeroFill(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("zfill", arguments, {""}, 1));
  FT_ASSIGN_OR_RETURN(const int64_t width, args.Integer(0, 0));
  const auto size = static_cast<int64_t>(CountCodePoints(text.text));
  const size_t sign = text.text.starts_with('+') || text.text.starts_with('-') ? 1 : 0;
  TextBuilder out = in.NewText();
  out.Append(text, 0, sign);
  for (int64_t i = size; i < width && !out.full(); ++i) out.Append("0");
  out.Append(text, sign, text.text.size());
  return in.MakeString(&out);
}

template <bool kPrefix>
Result<TemplateValue> Remove(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("the method", arguments, {""}, 1));
  FT_ASSIGN_OR_RETURN(const Text part, args.Text(0, ""));
  const size_t size = text.text.size();
  if (kPrefix && text.text.starts_with(part.text))
    return in.MakeString(SubText(text, part.text.size(), size));
  if (!kPrefix && text.text.ends_with(part.text))
    return in.MakeString(SubText(text, 0, size - part.text.size()));
  return in.MakeString(text);
}

Result<TemplateValue> ExpandTabs(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("expandtabs", arguments, {"tabsize"}));
  FT_ASSIGN_OR_RETURN(const int64_t tab, args.Integer(0, 8));
  TextBuilder out = in.NewText();
  int64_t column = 0;
  for (size_t at = 0; at < text.text.size() && !out.full();) {
    const CodePoint c = DecodeAt(text.text, at);
    if (c.value == '\t') {
      for (int64_t n = tab > 0 ? tab - column % tab : 0; n > 0 && !out.full(); --n, ++column) out.Append(" ");
    } else {
      out.Append(text, at, at + c.size);
      column = c.value == '\n' || c.value == '\r' ? 0 : column + 1;
    }
    at += c.size;
  }
  return in.MakeString(&out);
}

constexpr Named<StringMethod> kMethods[] = {
    {"upper", Changed<Upper>},
    {"lower", Changed<Lower>},
    {"title", Changed<TitleWords>},
    {"capitalize", Changed<Capitalize>},
    {"swapcase", Changed<SwapCase>},
    {"casefold", Changed<Casefold>},
    {"strip", Strip<true, true>},
    {"lstrip", Strip<true, false>},
    {"rstrip", Strip<false, true>},
    {"ljust", Justify<true>},
    {"rjust", Justify<false>},
    {"center", Center},
    {"zfill", ZeroFill},
    {"removeprefix", Remove<true>},
    {"removesuffix", Remove<false>},
    {"expandtabs", ExpandTabs},
    {"isalpha", All<IsAlpha>},
    {"isalnum", All<IsAlnum>},
    {"isdigit", All<IsDigit>},
    {"isdecimal", All<IsDecimal>},
    {"isnumeric", All<IsNumeric>},
    {"isspace", All<IsSpace>},
    {"isprintable", All<IsPrintable>},
    {"isupper", OneCase<IsUpper>},
    {"islower", OneCase<IsLower>},
    {"istitle", IsTitle},
    {"isascii", IsAscii},
};

}  // namespace

StringMethod FindCaseMethod(std::string_view name) { return FindNamed(kMethods, name); }

Result<TemplateValue> PadText(In& in, const Text& text, int64_t left, int64_t right, const Text& fill) {
  const auto limit = static_cast<int64_t>(in.limits().value_bytes);
  if (left > limit || right > limit) return BadInput("a text is padded beyond the {} bytes allowed", limit);
  TextBuilder out = in.NewText();
  for (; left > 0; --left) out.Append(fill);
  out.Append(text);
  for (; right > 0; --right) out.Append(fill);
  return in.MakeString(&out);
}

Result<TemplateValue> CenterText(In& in, const Text& text, int64_t width, const Text& fill) {
  const auto size = static_cast<int64_t>(CountCodePoints(text.text));
  const int64_t missing = width > size ? width - size : 0;
  const int64_t left = missing / 2 + (missing & width & 1);  // CPython's choice for odd margins
  return PadText(in, text, left, missing - left, fill);
}

Result<TemplateValue> CallStringMethod(In& in, const TemplateValue& self, const std::string& name,
                                       const Args& arguments) {
  const Text& text = self.string();
  if (name == "isprintable" && text.text.empty()) return TemplateValue::Bool(true);
  if (name == "format") return BraceFormat(in, text, arguments);
  if (name == "format_map") {
    if (arguments.positional.size() != 1 || !arguments.named.empty() ||
        !arguments.positional[0].is(TemplateValue::Kind::kDict)) {
      return BadInput("format_map takes one dict");
    }
    Args named;
    for (const auto& [key, value] : arguments.positional[0].dict().items()) {
      if (key.is_string()) named.named.emplace_back(key.text(), value);
    }
    return BraceFormat(in, text, named);
  }
  StringMethod method = FindCaseMethod(name);
  if (method == nullptr) method = FindSearchMethod(name);
  if (method == nullptr) return BadInput("the str method '{}' is not available", name);
  return method(in, text, arguments);
}

}  // namespace fusiontree::tokenizer
