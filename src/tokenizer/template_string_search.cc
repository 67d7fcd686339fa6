// str's methods that search, split, join and replace.
#include <algorithm>
#include <iterator>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_methods.h"
#include "tokenizer/template_named.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;

namespace {

using In = TemplateInterpreter;
using Text = TemplateString;
using Args = CallArguments;

constexpr size_t kNotFound = std::string::npos;

Result<TemplateValue> Piece(In& in, const Text& text, size_t begin, size_t end) {
  return in.MakeString(SubText(text, begin, end));
}

// Optional start and end in code points, as bytes. Empty when start lies behind end or the text.
Result<std::optional<Span>> Window(const BoundArguments& args, const std::string& text) {
  if (!args.Has(1) && !args.Has(2)) return std::optional<Span>(Span{0, text.size()});
  const auto size = static_cast<int64_t>(CountCodePoints(text));
  int64_t bounds[2] = {0, size};
  for (size_t i = 0; i < 2; ++i) {
    if (!args.HasValue(i + 1)) continue;
    FT_ASSIGN_OR_RETURN(bounds[i], args.Integer(i + 1, 0));
    if (bounds[i] < 0) bounds[i] = std::max<int64_t>(0, bounds[i] + size);
  }
  bounds[1] = std::min(bounds[1], size);
  if (bounds[0] > bounds[1]) return std::optional<Span>();
  return std::optional<Span>(Span{ByteOffset(text, static_cast<size_t>(bounds[0])),
                                  ByteOffset(text, static_cast<size_t>(bounds[1]))});
}

enum class Seek { kFind, kRFind, kIndex, kRIndex };
template <Seek kSeek>
Result<TemplateValue> Find(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("find", arguments, {"", "", ""}, 1));
  FT_ASSIGN_OR_RETURN(const Text part, args.Text(0, ""));
  FT_ASSIGN_OR_RETURN(const std::optional<Span> window, Window(args, text.text));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 64));
  size_t at = kNotFound;
  if (window.has_value()) {
    const auto inside = std::string_view(text.text).substr(window->begin, window->end - window->begin);
    at = kSeek == Seek::kFind || kSeek == Seek::kIndex ? inside.find(part.text) : inside.rfind(part.text);
  }
  if (at != kNotFound) {
    return TemplateValue::Int(
        static_cast<int64_t>(CountCodePoints(std::string_view(text.text).substr(0, window->begin + at))));
  }
  if (kSeek == Seek::kIndex || kSeek == Seek::kRIndex) return BadInput("the text to find is not there");
  return TemplateValue::Int(-1);
}

Result<TemplateValue> Count(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("count", arguments, {"", "", ""}, 1));
  FT_ASSIGN_OR_RETURN(const Text part, args.Text(0, ""));
  FT_ASSIGN_OR_RETURN(const std::optional<Span> window, Window(args, text.text));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 64));
  if (!window.has_value()) return TemplateValue::Int(0);
  const auto inside = std::string_view(text.text).substr(window->begin, window->end - window->begin);
  if (part.text.empty()) return TemplateValue::Int(static_cast<int64_t>(CountCodePoints(inside)) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = inside.find(part.text, at)) != kNotFound; at += part.text.size()) ++count;
  return TemplateValue::Int(count);
}

template <bool kStart>
Result<TemplateValue> StartsOrEnds(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("startswith", arguments, {"", "", ""}, 1));
  FT_ASSIGN_OR_RETURN(const std::optional<Span> window, Window(args, text.text));
  if (!window.has_value()) return TemplateValue::Bool(false);
  const auto inside = std::string_view(text.text).substr(window->begin, window->end - window->begin);
  std::vector<TemplateValue> parts = {*args[0]};
  if (args[0]->is(TemplateValue::Kind::kTuple)) parts = args[0]->items();
  for (const TemplateValue& part : parts) {
    FT_RETURN_IF_ERROR(in.Step());
    if (part.is_undefined()) return BadInput("{}", part.why());
    if (!part.is_string()) return BadInput("startswith and endswith need strings, not {}", part.TypeName());
    if (kStart ? inside.starts_with(part.text()) : inside.ends_with(part.text()))
      return TemplateValue::Bool(true);
  }
  return TemplateValue::Bool(false);
}

// Splits at white space. `limit` pieces are cut off from the left or the right; negative is all.
Status SplitSpace(In& in, const Text& text, int64_t limit, bool from_right, std::vector<TemplateValue>* out) {
  const std::string& t = text.text;
  const auto is_space = [&](size_t at) { return IsSpace(DecodeAt(t, at).value); };
  if (!from_right) {
    size_t at = 0;
    while (true) {
      at = StripRange(std::string_view(t).substr(at), nullptr, true, false).begin + at;
      if (at >= t.size()) return base::OkStatus();
      size_t end = at;
      if (limit == 0) {
        end = t.size();  // the rest keeps its trailing space
      } else {
        while (end < t.size() && !is_space(end)) end += DecodeAt(t, end).size;
      }
      --limit;
      FT_ASSIGN_OR_RETURN(TemplateValue piece, Piece(in, text, at, end));
      out->push_back(std::move(piece));
      at = end;
      if (limit == -1) return base::OkStatus();
    }
  }
  size_t end = t.size();
  while (true) {
    end = StripRange(std::string_view(t).substr(0, end), nullptr, false, true).end;
    if (end == 0) break;
    size_t at = end;
    if (limit == 0) {
      at = 0;
    } else {
      while (at > 0 && !is_space(PreviousStart(t, at))) at = PreviousStart(t, at);
    }
    --limit;
    FT_ASSIGN_OR_RETURN(TemplateValue piece, Piece(in, text, at, end));
    out->push_back(std::move(piece));
    end = at;
    if (limit == -1) break;
  }
  std::reverse(out->begin(), out->end());
  return base::OkStatus();
}

Status SplitAt(In& in, const Text& text, const std::string& separator, int64_t limit, bool from_right,
               std::vector<TemplateValue>* out) {
  const std::string& t = text.text;
  size_t begin = 0;
  size_t end = t.size();
  while (limit != 0) {
    size_t at = kNotFound;
    if (!from_right) {
      at = t.find(separator, begin);
    } else if (end >= separator.size()) {
      at = t.rfind(separator, end - separator.size());
    }
    if (at == kNotFound) break;
    FT_ASSIGN_OR_RETURN(TemplateValue piece, from_right ? Piece(in, text, at + separator.size(), end)
                                                        : Piece(in, text, begin, at));
    out->push_back(std::move(piece));
    (from_right ? end : begin) = from_right ? at : at + separator.size();
    --limit;
  }
  FT_ASSIGN_OR_RETURN(TemplateValue rest, Piece(in, text, begin, end));
  out->push_back(std::move(rest));
  if (from_right) std::reverse(out->begin(), out->end());
  return base::OkStatus();
}

template <bool kRight>
Result<TemplateValue> Split(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("split", arguments, {"sep", "maxsplit"}));
  FT_ASSIGN_OR_RETURN(const int64_t limit, args.Integer(1, -1));
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.text.size()) / 32));
  std::vector<TemplateValue> pieces;
  if (args.HasValue(0)) {
    FT_ASSIGN_OR_RETURN(const Text separator, args.Text(0, ""));
    if (separator.text.empty()) return BadInput("split needs a separator that is not empty");
    FT_RETURN_IF_ERROR(SplitAt(in, text, separator.text, limit, kRight, &pieces));
  } else {
    FT_RETURN_IF_ERROR(SplitSpace(in, text, limit < 0 ? -1 : limit, kRight, &pieces));
  }
  return in.MakeList(std::move(pieces));
}

Result<TemplateValue> SplitLinesMethod(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("splitlines", arguments, {"keepends"}));
  FT_ASSIGN_OR_RETURN(std::vector<TemplateValue> lines, SplitLines(in, text, args.Flag(0)));
  return in.MakeList(std::move(lines));
}

template <bool kRight>
Result<TemplateValue> Partition(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("partition", arguments, {""}, 1));
  FT_ASSIGN_OR_RETURN(const Text separator, args.Text(0, ""));
  if (separator.text.empty()) return BadInput("partition needs a separator that is not empty");
  const size_t size = text.text.size();
  const size_t at = kRight ? text.text.rfind(separator.text) : text.text.find(separator.text);
  const size_t begin = at != kNotFound ? at : kRight ? 0 : size;
  const size_t end = at != kNotFound ? at + separator.text.size() : begin;
  std::vector<TemplateValue> parts;
  for (const auto& [from, to] : {std::pair<size_t, size_t>{0, begin}, {begin, end}, {end, size}}) {
    FT_ASSIGN_OR_RETURN(TemplateValue part, Piece(in, text, from, to));
    parts.push_back(std::move(part));
  }
  return in.MakeTuple(std::move(parts));
}

Result<TemplateValue> JoinMethod(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("join", arguments, {""}, 1));
  FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> items, in.Collect(*args[0]));
  TextBuilder out = in.NewText();
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string())
      return BadInput("join needs strings, item {} has type {}", i, items[i].TypeName());
    if (i > 0) out.Append(text);
    out.Append(items[i].string());
  }
  return in.MakeString(&out);
}

Result<TemplateValue> ReplaceMethod(In& in, const Text& text, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("replace", arguments, {"", "", ""}, 2));
  FT_ASSIGN_OR_RETURN(const Text old_text, args.Text(0, ""));
  FT_ASSIGN_OR_RETURN(const Text new_text, args.Text(1, ""));
  FT_ASSIGN_OR_RETURN(const int64_t count, args.Integer(2, -1));
  return ReplaceText(in, text, old_text, new_text, count);
}

constexpr Named<StringMethod> kMethods[] = {
    {"find", Find<Seek::kFind>},
    {"rfind", Find<Seek::kRFind>},
    {"index", Find<Seek::kIndex>},
    {"rindex", Find<Seek::kRIndex>},
    {"count", Count},
    {"startswith", StartsOrEnds<true>},
    {"endswith", StartsOrEnds<false>},
    {"split", Split<false>},
    {"rsplit", Split<true>},
    {"splitlines", SplitLinesMethod},
    {"partition", Partition<false>},
    {"rpartition", Partition<true>},
    {"join", JoinMethod},
    {"replace", ReplaceMethod},
};

}  // namespace

StringMethod FindSearchMethod(std::string_view name) { return FindNamed(kMethods, name); }

Result<TemplateValue> ReplaceText(In& in, const Text& text, const Text& old_text, const Text& new_text,
                                  int64_t count) {
  const std::string& t = text.text;
  TextBuilder out = in.NewText();
  size_t at = 0;
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(t.size()) / 64));
  // An empty old text lies before each character and at the end.
  while (count != 0 && !out.full()) {
    const size_t found = t.find(old_text.text, at);
    if (found == kNotFound) break;
    out.Append(text, at, found);
    out.Append(new_text);
    at = found + old_text.text.size();
    --count;
    if (!old_text.text.empty()) continue;
    if (at == t.size()) break;
    const size_t next = at + DecodeAt(t, at).size;
    out.Append(text, at, next);
    at = next;
  }
  out.Append(text, at, t.size());
  if (!text.markup || out.full()) return in.MakeString(&out);
  Text result = out.Take();
  result.markup = true;
  return in.MakeString(std::move(result));
}

Result<std::vector<TemplateValue>> SplitLines(In& in, const Text& text, bool keep_ends) {
  const std::string& t = text.text;
  std::vector<TemplateValue> lines;
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(t.size()) / 32));
  for (size_t begin = 0; begin < t.size();) {
    size_t end = begin;
    while (end < t.size() && !IsLineBreak(DecodeAt(t, end).value)) end += DecodeAt(t, end).size;
    size_t next = end < t.size() ? end + DecodeAt(t, end).size : end;
    if (end < t.size() && t[end] == '\r' && next < t.size() && t[next] == '\n') ++next;
    FT_ASSIGN_OR_RETURN(TemplateValue line, Piece(in, text, begin, keep_ends ? next : end));
    lines.push_back(std::move(line));
    begin = next;
  }
  return lines;
}

}  // namespace fusiontree::tokenizer
