#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace fusiontree::tokenizer {
namespace {

size_t LastCharacter(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

bool WordEndsAt(std::string_view text, size_t offset) {
  if (offset == 0) return false;
  size_t at = LastCharacter(text, offset);
  return IsWordCharacter(base::NextUtf8(text, &at));
}

bool WordBeginsAt(std::string_view text, size_t offset) {
  return offset < text.size() && IsWordCharacter(base::NextUtf8(text, &offset));
}

bool IsSpace(char32_t c) { return (CharacterClass(c) & kSpace) != 0; }

// The run of white space found last, so that tokens inside one long run do not each walk all of it.
struct SpaceRun {
  size_t begin = 0;
  size_t end = 0;
};

size_t SkipSpaceBack(std::string_view text, size_t offset, SpaceRun* run) {
  const size_t from = offset;
  if (offset > run->begin && offset <= run->end) return run->begin;
  while (offset > 0) {
    const size_t begin = LastCharacter(text, offset);
    size_t at = begin;
    if (!IsSpace(base::NextUtf8(text, &at))) break;
    offset = begin;
  }
  if (offset < from) *run = {offset, from};
  return offset;
}

size_t SkipSpace(std::string_view text, size_t offset, SpaceRun* run) {
  const size_t from = offset;
  if (offset >= run->begin && offset < run->end) offset = run->end;
  while (offset < text.size()) {
    size_t at = offset;
    if (!IsSpace(base::NextUtf8(text, &at))) break;
    offset = at;
  }
  if (offset > from) *run = {from, offset};
  return offset;
}

}  // namespace

DataSpans::DataSpans(std::vector<Span> spans) {
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
  for (const Span& span : spans) {
    if (span.begin >= span.end) continue;
    if (!spans_.empty() && span.begin <= spans_.back().end) {
      spans_.back().end = std::max(spans_.back().end, span.end);
    } else {
      spans_.push_back(span);
    }
  }
}

bool DataSpans::Touches(size_t begin, size_t end) const {
  const auto after = std::partition_point(spans_.begin(), spans_.end(),
                                          [begin](const Span& span) { return span.end <= begin; });
  return after != spans_.end() && after->begin < end;
}

DataSpans DataSpans::Within(size_t begin, size_t end) const {
  DataSpans within;
  auto span =
      std::partition_point(spans_.begin(), spans_.end(), [begin](const Span& s) { return s.end <= begin; });
  for (; span != spans_.end() && span->begin < end; ++span)
    within.spans_.push_back({std::max(span->begin, begin) - begin, std::min(span->end, end) - begin});
  return within;
}

void AddedTokenFinder::Add(std::string_view content, const AddedToken& token) {
  if (content.empty()) return;
  uint32_t node = 0;
  for (const char c : content) {
    const uint64_t key = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c);
    const auto [edge, is_new] = edges_.try_emplace(key, static_cast<uint32_t>(token_at_.size()));
    if (is_new) token_at_.push_back(-1);
    node = edge->second;
  }
  first_bytes_[static_cast<uint8_t>(content[0])] = true;
  if (token_at_[node] >= 0) return;
  token_at_[node] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

const AddedToken* AddedTokenFinder::LongestAt(std::string_view text, size_t offset, size_t* length) const {
  uint32_t node = 0;
  const AddedToken* longest = nullptr;
  for (size_t at = offset; at < text.size(); ++at) {
    const auto edge = edges_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(text[at]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_at_[node] >= 0) {
      longest = &tokens_[token_at_[node]];
      *length = at + 1 - offset;
    }
  }
  return longest;
}

std::vector<AddedTokenFinder::Stretch> AddedTokenFinder::Cut(std::string_view text,
                                                             const DataSpans& data) const {
  std::vector<Stretch> stretches;
  size_t done = 0;
  SpaceRun run;
  for (size_t offset = 0; offset < text.size();) {
    size_t length = 0;
    const AddedToken* token =
        first_bytes_[static_cast<uint8_t>(text[offset])] ? LongestAt(text, offset, &length) : nullptr;
    if (token == nullptr) {
      ++offset;
      continue;
    }
    size_t begin = offset;
    size_t end = offset + length;
    offset = end;  // a match that is passed over hides those inside it, as in Hugging Face's
    if (token->special && data.Touches(begin, end)) continue;
    if (token->single_word && (WordEndsAt(text, begin) || WordBeginsAt(text, end))) continue;
    if (token->lstrip) begin = std::max(SkipSpaceBack(text, begin, &run), done);
    if (token->rstrip) end = SkipSpace(text, end, &run);
    if (done < begin) stretches.push_back({done, begin, -1});
    stretches.push_back({begin, end, token->id});
    done = end;
  }
  if (done < text.size()) stretches.push_back({done, text.size(), -1});
  return stretches;
}

}  // namespace fusiontree::tokenizer
