// Text for templates: building strings that remember which bytes are data, and Python's view of Unicode
// (code points, white space, case, what repr escapes).
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_TEXT_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/template_value.h"

namespace fusiontree::tokenizer {

// Appends text and its data marks. Past `limit` bytes it stops growing and full() says so.
class TextBuilder {
 public:
  explicit TextBuilder(size_t limit) : limit_(limit) {}
  void Append(std::string_view text) { Add(text, false); }
  void AppendData(std::string_view text) { Add(text, true); }
  void Append(std::string_view text, bool data) { Add(text, data); }
  void Append(const TemplateString& s) { Append(s, 0, s.text.size()); }
  void Append(const TemplateString& s, size_t begin, size_t end);  // bytes
  void AppendCodePoint(uint32_t cp, bool data = false);

  bool full() const { return full_; }
  size_t size() const { return built_.text.size(); }
  TemplateString Take() { return std::move(built_); }

 private:
  void Add(std::string_view text, bool data);
  void Mark(size_t begin, size_t end);
  size_t limit_;
  bool full_ = false;
  TemplateString built_;
};

// Bytes [begin, end) with their marks; keeps the markup flag.
TemplateString SubText(const TemplateString& s, size_t begin, size_t end);
// `text` made from `source` by an operation that moves bytes: data as a whole if any of the source is.
TemplateString Derived(std::string text, const TemplateString& source);

// Strict UTF-8: no overlong forms, surrogates or values past U+10FFFF. The offset of the first bad byte, or
// npos.
size_t FindInvalidUtf8(std::string_view text);
// Code point at byte `at` (< size) and its length in bytes; a bad byte counts as U+FFFD of length 1.
struct CodePoint {
  uint32_t value;
  size_t size;
};
CodePoint DecodeAt(std::string_view text, size_t at);
// Start of the code point that ends at byte `end` (> 0).
size_t PreviousStart(std::string_view text, size_t end);
void AppendUtf8(uint32_t cp, std::string* out);
size_t CountCodePoints(std::string_view text);
// Byte offset of code point `index`, or the size when there are fewer.
size_t ByteOffset(std::string_view text, size_t index);

bool IsSpace(uint32_t cp);      // str.isspace, strip, split and re's \s
bool IsLineBreak(uint32_t cp);  // str.splitlines
bool IsPrintable(uint32_t cp);  // what repr shows as it is
bool IsAlpha(uint32_t cp);
bool IsDecimal(uint32_t cp);  // category Nd
bool IsNumeric(uint32_t cp);  // categories Nd, Nl, No
bool IsCased(uint32_t cp);
bool IsUpper(uint32_t cp);
bool IsLower(uint32_t cp);
bool IsIdentifierStart(uint32_t cp);
bool IsIdentifierPart(uint32_t cp);

// Python's full case mappings, with the final sigma.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string TitleFirst(std::string_view text);  // one code point to title case
std::string Casefold(std::string_view text);
std::string TitleWords(std::string_view text);  // str.title
std::string SwapCase(std::string_view text);
std::string Capitalize(std::string_view text);

// Bytes [begin, end) left after stripping white space, or the code points of `chars`, from the ends.
Span StripRange(std::string_view text, const std::string* chars, bool left, bool right);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_TEXT_H_
