#include "tokenizer/template_text.h"

#include <algorithm>

namespace fusiontree::tokenizer {

void TextBuilder::Mark(size_t begin, size_t end) {
  if (begin == end) return;
  std::vector<Span>& data = built_.data;
  if (!data.empty() && data.back().end == begin) {
    data.back().end = end;
  } else {
    data.push_back({begin, end});
  }
}

void TextBuilder::Add(std::string_view text, bool data) {
  if (full_ || text.size() > limit_ - built_.text.size()) {
    full_ = true;
    return;
  }
  const size_t begin = built_.text.size();
  built_.text.append(text);
  if (data) Mark(begin, built_.text.size());
}

void TextBuilder::Append(const TemplateString& s, size_t begin, size_t end) {
  const size_t base = built_.text.size();
  Add(std::string_view(s.text).substr(begin, end - begin), false);
  if (full_) return;
  auto span = std::upper_bound(s.data.begin(), s.data.end(), begin,
                               [](size_t at, const Span& candidate) { return at < candidate.end; });
  for (; span != s.data.end() && span->begin < end; ++span) {
    Mark(base + std::max(span->begin, begin) - begin, base + std::min(span->end, end) - begin);
  }
}

void TextBuilder::AppendCodePoint(uint32_t cp, bool data) {
  std::string bytes;
  AppendUtf8(cp, &bytes);
  Add(bytes, data);
}

TemplateString SubText(const TemplateString& s, size_t begin, size_t end) {
  TextBuilder out(s.text.size());
  out.Append(s, begin, end);
  TemplateString result = out.Take();
  result.markup = s.markup;
  return result;
}

TemplateString Derived(std::string text, const TemplateString& source) {
  TemplateString result;
  if (!source.data.empty() && !text.empty()) result.data.push_back({0, text.size()});
  result.text = std::move(text);
  result.markup = source.markup;
  return result;
}

CodePoint DecodeAt(std::string_view text, size_t at) {
  constexpr CodePoint kBad = {0xFFFD, 1};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || size > text.size() - at) return kBad;
  uint32_t cp = first & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return kBad;
    cp = cp << 6 | (byte(i) & 0x3F);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (cp < kLeast[size] || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) return kBad;
  return {cp, size};
}

size_t FindInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    if (c.size == 1 && c.value == 0xFFFD) return at;  // a real U+FFFD takes three bytes
    at += c.size;
  }
  return std::string_view::npos;
}

size_t PreviousStart(std::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && end - start < 4 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
  return DecodeAt(text.substr(0, end), start).size == end - start ? start : end - 1;
}

void AppendUtf8(uint32_t cp, std::string* out) {
  if (cp < 0x80) {
    out->push_back(static_cast<char>(cp));
    return;
  }
  if (cp >= 0x10000) {
    out->push_back(static_cast<char>(0xF0 | cp >> 18));
    out->push_back(static_cast<char>(0x80 | (cp >> 12 & 0x3F)));
  } else if (cp >= 0x800) {
    out->push_back(static_cast<char>(0xE0 | cp >> 12));
  } else {
    out->push_back(static_cast<char>(0xC0 | cp >> 6));
  }
  if (cp >= 0x800) out->push_back(static_cast<char>(0x80 | (cp >> 6 & 0x3F)));
  out->push_back(static_cast<char>(0x80 | (cp & 0x3F)));
}

size_t CountCodePoints(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

size_t ByteOffset(std::string_view text, size_t index) {
  size_t at = 0;
  for (; at < text.size() && index > 0; --index) at += DecodeAt(text, at).size;
  return at;
}

Span StripRange(std::string_view text, const std::string* chars, bool left, bool right) {
  const auto stripped = [&](size_t at, size_t size) {
    if (chars == nullptr) return IsSpace(DecodeAt(text, at).value);
    return chars->find(text.substr(at, size)) != std::string::npos;
  };
  size_t begin = 0;
  size_t end = text.size();
  while (left && begin < end) {
    const size_t size = DecodeAt(text, begin).size;
    if (!stripped(begin, size)) break;
    begin += size;
  }
  while (right && end > begin) {
    const size_t start = PreviousStart(text, end);
    if (!stripped(start, end - start)) break;
    end = start;
  }
  return {begin, end};
}

}  // namespace fusiontree::tokenizer
