#include "tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/space_mark.h"
#include "tokenizer/unicode.h"

namespace fusiontree::tokenizer {
namespace {

using Part = Pattern::Part;

// The cuts of every behaviour but kIsolated and kRemoved, which need only one part at a time.
std::vector<Part> MergeParts(const std::vector<Part>& parts, SplitBehavior behavior) {
  std::vector<Part> merged;
  bool previous = false;
  const auto join_or_push = [&](const Part& part, bool join) {
    if (join && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, part.begin);
      merged.back().end = std::max(merged.back().end, part.end);
    } else {
      merged.push_back(part);
    }
    previous = part.is_match;
  };
  if (behavior == SplitBehavior::kContiguous) {
    for (const Part& part : parts) join_or_push(part, part.is_match == previous);
  } else if (behavior == SplitBehavior::kMergedWithPrevious) {
    for (const Part& part : parts) join_or_push(part, part.is_match && !previous);
  } else {
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
      join_or_push(*part, part->is_match && !previous);
    std::reverse(merged.begin(), merged.end());
  }
  return merged;
}

}  // namespace

void PreTokenizer::AddSplit(Pattern pattern, SplitBehavior behavior, bool invert) {
  steps_.push_back(
      {.kind = Kind::kSplit, .behavior = behavior, .invert = invert, .pattern = std::move(pattern)});
}
void PreTokenizer::AddDigits(bool individual) {
  steps_.push_back({.kind = Kind::kDigits,
                    .behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
}
void PreTokenizer::AddWhitespaceSplit() {
  steps_.push_back({.kind = Kind::kWhitespace, .behavior = SplitBehavior::kRemoved});
}
void PreTokenizer::AddByteLevel(bool add_prefix_space, std::optional<Pattern> pattern) {
  steps_.push_back({.kind = Kind::kByteLevel,
                    .pattern = std::move(pattern),
                    .prefix_space = add_prefix_space,
                    .respell = true});
}
void PreTokenizer::AddMetaspace(std::string replacement, PrependScheme scheme,
                                std::optional<Pattern> split_at) {
  steps_.push_back({.kind = Kind::kMetaspace,
                    .behavior = SplitBehavior::kMergedWithNext,
                    .pattern = std::move(split_at),
                    .replacement = std::move(replacement),
                    .scheme = scheme});
}

bool PreTokenizer::TakeFinalByteLevel() {
  if (steps_.empty() || steps_.back().kind != Kind::kByteLevel || !steps_.back().respell) return false;
  steps_.back().respell = false;
  return true;
}

base::Status PreTokenizer::Run(std::string_view text, bool at_start, WordSink* sink) const {
  return RunFrom(0, text, at_start, sink);
}

base::Status PreTokenizer::RunFrom(size_t step, std::string_view text, bool at_start, WordSink* sink) const {
  if (text.empty()) return base::OkStatus();
  if (step == steps_.size()) {
    sink->Word(text);
    return base::OkStatus();
  }
  switch (steps_[step].kind) {
    case Kind::kSplit:
      return RunPattern(step, text, at_start, sink);
    case Kind::kDigits:
    case Kind::kWhitespace:
      return RunCharacters(step, text, at_start, sink);
    case Kind::kByteLevel:
      return RunByteLevel(step, text, at_start, sink);
    case Kind::kMetaspace:
      break;
  }
  const Step& metaspace = steps_[step];
  std::string marked;
  for (const char c : text) c == ' ' ? void(marked += metaspace.replacement) : marked.push_back(c);
  const bool wanted =
      metaspace.scheme == PrependScheme::kAlways || (metaspace.scheme == PrependScheme::kFirst && at_start);
  if (wanted && !marked.starts_with(metaspace.replacement)) marked.insert(0, metaspace.replacement);
  if (metaspace.pattern.has_value()) return RunPattern(step, marked, at_start, sink);
  return RunFrom(step + 1, marked, at_start, sink);
}

base::Status PreTokenizer::RunPattern(size_t step, std::string_view text, bool at_start,
                                      WordSink* sink) const {
  const Step& split = steps_[step];
  const auto next = [&](const Part& part) {
    return RunFrom(step + 1, text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0,
                   sink);
  };
  if (split.behavior == SplitBehavior::kIsolated || split.behavior == SplitBehavior::kRemoved) {
    const bool keep_matches = split.behavior == SplitBehavior::kIsolated;
    return split.pattern->ForEachPart(text, [&](const Part& part) {
      return keep_matches || part.is_match == split.invert ? next(part) : base::OkStatus();
    });
  }
  std::vector<Part> parts;
  FT_RETURN_IF_ERROR(split.pattern->ForEachPart(text, [&](Part part) {
    part.is_match = part.is_match != split.invert;
    parts.push_back(part);
    return base::OkStatus();
  }));
  for (const Part& part : MergeParts(parts, split.behavior)) FT_RETURN_IF_ERROR(next(part));
  return base::OkStatus();
}

// Digits and WhitespaceSplit: the match is one character of a class.
base::Status PreTokenizer::RunCharacters(size_t step, std::string_view text, bool at_start,
                                         WordSink* sink) const {
  const Step& split = steps_[step];
  const uint8_t wanted = split.kind == Kind::kDigits ? kNumeric : kSpace;
  size_t begin = 0;  // of what is not handed on yet
  bool previous = false;
  const auto next = [&](size_t end) {
    const std::string_view part = text.substr(begin, end - begin);
    const bool first = at_start && begin == 0;
    begin = end;
    if (previous && split.behavior == SplitBehavior::kRemoved) return base::OkStatus();
    return RunFrom(step + 1, part, first, sink);
  };
  for (size_t offset = 0; offset < text.size();) {
    const size_t at = offset;
    const bool matches = (CharacterClass(base::NextUtf8(text, &offset)) & wanted) != 0;
    if (matches != previous || (matches && split.behavior == SplitBehavior::kIsolated))
      FT_RETURN_IF_ERROR(next(at));
    previous = matches;
  }
  return next(text.size());
}

base::Status PreTokenizer::RunByteLevel(size_t step, std::string_view text, bool at_start,
                                        WordSink* sink) const {
  const Step& byte_level = steps_[step];
  std::string prefixed;
  if (byte_level.prefix_space && text[0] != ' ') {
    prefixed.reserve(text.size() + 1);
    prefixed += ' ';
    prefixed += text;
    text = prefixed;
  }
  std::string respelt;
  const auto next = [&](std::string_view word, bool first) {
    if (!byte_level.respell) return RunFrom(step + 1, word, first, sink);
    respelt.clear();
    AppendByteLevel(word, &respelt);
    return RunFrom(step + 1, respelt, first, sink);
  };
  if (!byte_level.pattern.has_value()) return next(text, at_start);
  return byte_level.pattern->ForEachPart(text, [&](const Part& part) {
    return next(text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0);
  });
}

}  // namespace fusiontree::tokenizer
