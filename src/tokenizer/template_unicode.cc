// Unicode properties and case as Python's str has them. utf8proc knows the one-to-one mappings; the code
// points that become several (SpecialCasing.txt without conditions) are listed here, the final sigma is a
// rule.
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "tokenizer/template_text.h"

namespace fusiontree::tokenizer {
namespace {

struct SpecialCase {
  uint32_t cp;
  const char* upper;
  const char* title;
};
// Sorted by code point. From Unicode 14 by way of Python: every code point whose str.upper() or str.title()
// is longer.
constexpr SpecialCase kSpecialCases[] = {
    {0x00DF, "SS", "Ss"},
    {0x0149, "\u02BCN", "\u02BCN"},
    {0x01F0, "J\u030C", "J\u030C"},
    {0x0390, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},
    {0x03B0, "\u03A5\u0308\u0301", "\u03A5\u0308\u0301"},
    {0x0587, "\u0535\u0552", "\u0535\u0582"},
    {0x1E96, "H\u0331", "H\u0331"},
    {0x1E97, "T\u0308", "T\u0308"},
    {0x1E98, "W\u030A", "W\u030A"},
    {0x1E99, "Y\u030A", "Y\u030A"},
    {0x1E9A, "A\u02BE", "A\u02BE"},
    {0x1F50, "\u03A5\u0313", "\u03A5\u0313"},
    {0x1F52, "\u03A5\u0313\u0300", "\u03A5\u0313\u0300"},
    {0x1F54, "\u03A5\u0313\u0301", "\u03A5\u0313\u0301"},
    {0x1F56, "\u03A5\u0313\u0342", "\u03A5\u0313\u0342"},
    {0x1F80, "\u1F08\u0399", "\u1F88"},
    {0x1F81, "\u1F09\u0399", "\u1F89"},
    {0x1F82, "\u1F0A\u0399", "\u1F8A"},
    {0x1F83, "\u1F0B\u0399", "\u1F8B"},
    {0x1F84, "\u1F0C\u0399", "\u1F8C"},
    {0x1F85, "\u1F0D\u0399", "\u1F8D"},
    {0x1F86, "\u1F0E\u0399", "\u1F8E"},
    {0x1F87, "\u1F0F\u0399", "\u1F8F"},
    {0x1F88, "\u1F08\u0399", "\u1F88"},
    {0x1F89, "\u1F09\u0399", "\u1F89"},
    {0x1F8A, "\u1F0A\u0399", "\u1F8A"},
    {0x1F8B, "\u1F0B\u0399", "\u1F8B"},
    {0x1F8C, "\u1F0C\u0399", "\u1F8C"},
    {0x1F8D, "\u1F0D\u0399", "\u1F8D"},
    {0x1F8E, "\u1F0E\u0399", "\u1F8E"},
    {0x1F8F, "\u1F0F\u0399", "\u1F8F"},
    {0x1F90, "\u1F28\u0399", "\u1F98"},
    {0x1F91, "\u1F29\u0399", "\u1F99"},
    {0x1F92, "\u1F2A\u0399", "\u1F9A"},
    {0x1F93, "\u1F2B\u0399", "\u1F9B"},
    {0x1F94, "\u1F2C\u0399", "\u1F9C"},
    {0x1F95, "\u1F2D\u0399", "\u1F9D"},
    {0x1F96, "\u1F2E\u0399", "\u1F9E"},
    {0x1F97, "\u1F2F\u0399", "\u1F9F"},
    {0x1F98, "\u1F28\u0399", "\u1F98"},
    {0x1F99, "\u1F29\u0399", "\u1F99"},
    {0x1F9A, "\u1F2A\u0399", "\u1F9A"},
    {0x1F9B, "\u1F2B\u0399", "\u1F9B"},
    {0x1F9C, "\u1F2C\u0399", "\u1F9C"},
    {0x1F9D, "\u1F2D\u0399", "\u1F9D"},
    {0x1F9E, "\u1F2E\u0399", "\u1F9E"},
    {0x1F9F, "\u1F2F\u0399", "\u1F9F"},
    {0x1FA0, "\u1F68\u0399", "\u1FA8"},
    {0x1FA1, "\u1F69\u0399", "\u1FA9"},
    {0x1FA2, "\u1F6A\u0399", "\u1FAA"},
    {0x1FA3, "\u1F6B\u0399", "\u1FAB"},
    {0x1FA4, "\u1F6C\u0399", "\u1FAC"},
    {0x1FA5, "\u1F6D\u0399", "\u1FAD"},
    {0x1FA6, "\u1F6E\u0399", "\u1FAE"},
    {0x1FA7, "\u1F6F\u0399", "\u1FAF"},
    {0x1FA8, "\u1F68\u0399", "\u1FA8"},
    {0x1FA9, "\u1F69\u0399", "\u1FA9"},
    {0x1FAA, "\u1F6A\u0399", "\u1FAA"},
    {0x1FAB, "\u1F6B\u0399", "\u1FAB"},
    {0x1FAC, "\u1F6C\u0399", "\u1FAC"},
    {0x1FAD, "\u1F6D\u0399", "\u1FAD"},
    {0x1FAE, "\u1F6E\u0399", "\u1FAE"},
    {0x1FAF, "\u1F6F\u0399", "\u1FAF"},
    {0x1FB2, "\u1FBA\u0399", "\u1FBA\u0345"},
    {0x1FB3, "\u0391\u0399", "\u1FBC"},
    {0x1FB4, "\u0386\u0399", "\u0386\u0345"},
    {0x1FB6, "\u0391\u0342", "\u0391\u0342"},
    {0x1FB7, "\u0391\u0342\u0399", "\u0391\u0342\u0345"},
    {0x1FBC, "\u0391\u0399", "\u1FBC"},
    {0x1FC2, "\u1FCA\u0399", "\u1FCA\u0345"},
    {0x1FC3, "\u0397\u0399", "\u1FCC"},
    {0x1FC4, "\u0389\u0399", "\u0389\u0345"},
    {0x1FC6, "\u0397\u0342", "\u0397\u0342"},
    {0x1FC7, "\u0397\u0342\u0399", "\u0397\u0342\u0345"},
    {0x1FCC, "\u0397\u0399", "\u1FCC"},
    {0x1FD2, "\u0399\u0308\u0300", "\u0399\u0308\u0300"},
    {0x1FD3, "\u0399\u0308\u0301", "\u0399\u0308\u0301"},
    {0x1FD6, "\u0399\u0342", "\u0399\u0342"},
    {0x1FD7, "\u0399\u0308\u0342", "\u0399\u0308\u0342"},
    {0x1FE2, "\u03A5\u0308\u0300", "\u03A5\u0308\u0300"},
    {0x1FE3, "\u03A5\u0308\u0301", "\u03A5\u0308\u0301"},
    {0x1FE4, "\u03A1\u0313", "\u03A1\u0313"},
    {0x1FE6, "\u03A5\u0342", "\u03A5\u0342"},
    {0x1FE7, "\u03A5\u0308\u0342", "\u03A5\u0308\u0342"},
    {0x1FF2, "\u1FFA\u0399", "\u1FFA\u0345"},
    {0x1FF3, "\u03A9\u0399", "\u1FFC"},
    {0x1FF4, "\u038F\u0399", "\u038F\u0345"},
    {0x1FF6, "\u03A9\u0342", "\u03A9\u0342"},
    {0x1FF7, "\u03A9\u0342\u0399", "\u03A9\u0342\u0345"},
    {0x1FFC, "\u03A9\u0399", "\u1FFC"},
    {0xFB00, "FF", "Ff"},
    {0xFB01, "FI", "Fi"},
    {0xFB02, "FL", "Fl"},
    {0xFB03, "FFI", "Ffi"},
    {0xFB04, "FFL", "Ffl"},
    {0xFB05, "ST", "St"},
    {0xFB06, "ST", "St"},
    {0xFB13, "\u0544\u0546", "\u0544\u0576"},
    {0xFB14, "\u0544\u0535", "\u0544\u0565"},
    {0xFB15, "\u0544\u053B", "\u0544\u056B"},
    {0xFB16, "\u054E\u0546", "\u054E\u0576"},
    {0xFB17, "\u0544\u053D", "\u0544\u056D"},
};

const SpecialCase* FindSpecialCase(uint32_t cp) {
  const auto* found = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), cp,
                                       [](const SpecialCase& c, uint32_t value) { return c.cp < value; });
  return found != std::end(kSpecialCases) && found->cp == cp ? found : nullptr;
}

int Category(uint32_t cp) { return utf8proc_category(static_cast<utf8proc_int32_t>(cp)); }

void AppendUpper(uint32_t cp, std::string* out) {
  if (const SpecialCase* special = FindSpecialCase(cp)) {
    out->append(special->upper);
  } else {
    AppendUtf8(static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(cp))), out);
  }
}

void AppendTitle(uint32_t cp, std::string* out) {
  if (const SpecialCase* special = FindSpecialCase(cp)) {
    out->append(special->title);
  } else {
    AppendUtf8(static_cast<uint32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(cp))), out);
  }
}

// Marks, modifiers and the punctuation that word-breaking counts as inside a word (Case_Ignorable).
bool IsCaseIgnorable(uint32_t cp) {
  static constexpr std::array<uint32_t, 14> kMidWord = {
      0x27, 0x2E, 0x3A, 0xB7, 0x387, 0x55F, 0x5F4, 0x2018, 0x2019, 0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55};
  const int c = Category(cp);
  return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
         c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK ||
         std::find(kMidWord.begin(), kMidWord.end(), cp) != kMidWord.end();
}

// A capital sigma at byte `at` ends its word: a cased letter before it, none after it.
bool IsFinalSigma(std::string_view text, size_t at) {
  bool before = false;
  for (size_t end = at; end > 0;) {
    end = PreviousStart(text, end);
    const uint32_t cp = DecodeAt(text, end).value;
    if (IsCaseIgnorable(cp)) continue;
    before = IsCased(cp);
    break;
  }
  if (!before) return false;
  for (size_t next = at + DecodeAt(text, at).size; next < text.size();) {
    const CodePoint c = DecodeAt(text, next);
    next += c.size;
    if (!IsCaseIgnorable(c.value)) return !IsCased(c.value);
  }
  return true;
}

void AppendLower(std::string_view text, size_t at, std::string* out) {
  const uint32_t cp = DecodeAt(text, at).value;
  if (cp == 0x130) {
    out->append("i\u0307");
  } else if (cp == 0x3A3) {
    out->append(IsFinalSigma(text, at) ? "\u03C2" : "\u03C3");
  } else {
    AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(cp))), out);
  }
}

}  // namespace

bool IsSpace(uint32_t cp) {
  return (cp >= 0x09 && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 ||
         cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
         cp == 0x205F || cp == 0x3000;
}

bool IsLineBreak(uint32_t cp) {
  return (cp >= 0x0A && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
         cp == 0x2029;
}

bool IsPrintable(uint32_t cp) {
  if (cp == ' ') return true;
  switch (Category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool IsAlpha(uint32_t cp) {
  const int c = Category(cp);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
bool IsDecimal(uint32_t cp) { return Category(cp) == UTF8PROC_CATEGORY_ND; }
bool IsNumeric(uint32_t cp) {
  const int c = Category(cp);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}
bool IsUpper(uint32_t cp) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(cp)) != 0; }
bool IsLower(uint32_t cp) { return utf8proc_islower(static_cast<utf8proc_int32_t>(cp)) != 0; }
bool IsCased(uint32_t cp) { return IsUpper(cp) || IsLower(cp) || Category(cp) == UTF8PROC_CATEGORY_LT; }

bool IsIdentifierStart(uint32_t cp) {
  return cp == '_' || IsAlpha(cp) || Category(cp) == UTF8PROC_CATEGORY_NL;
}
bool IsIdentifierPart(uint32_t cp) {
  if (IsIdentifierStart(cp)) return true;
  const int c = Category(cp);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC ||
         c == UTF8PROC_CATEGORY_PC;
}

std::string Upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    AppendUpper(c.value, &out);
    at += c.size;
  }
  return out;
}

std::string Lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size(); at += DecodeAt(text, at).size) AppendLower(text, at, &out);
  return out;
}

std::string TitleFirst(std::string_view text) {
  std::string out;
  AppendTitle(DecodeAt(text, 0).value, &out);
  return out;
}

std::string Casefold(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    utf8proc_int32_t folded[8];
    int last_boundclass = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), folded, 8,
                                           UTF8PROC_CASEFOLD, &last_boundclass);
    if (n < 1 || n > 8) AppendUtf8(c.value, &out);
    for (utf8proc_ssize_t i = 0; i < n && n <= 8; ++i) AppendUtf8(static_cast<uint32_t>(folded[i]), &out);
    at += c.size;
  }
  return out;
}

std::string TitleWords(std::string_view text) {
  std::string out;
  bool after_cased = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    if (after_cased) {
      AppendLower(text, at, &out);
    } else {
      AppendTitle(c.value, &out);
    }
    after_cased = IsCased(c.value);
    at += c.size;
  }
  return out;
}

std::string SwapCase(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    if (IsUpper(c.value)) {
      AppendLower(text, at, &out);
    } else if (IsLower(c.value)) {
      AppendUpper(c.value, &out);
    } else {
      AppendUtf8(c.value, &out);
    }
    at += c.size;
  }
  return out;
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return "";
  std::string out;
  AppendTitle(DecodeAt(text, 0).value, &out);
  for (size_t at = DecodeAt(text, 0).size; at < text.size(); at += DecodeAt(text, at).size) {
    AppendLower(text, at, &out);
  }
  return out;
}

}  // namespace fusiontree::tokenizer
