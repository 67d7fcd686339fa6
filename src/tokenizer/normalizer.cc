#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace fusiontree::tokenizer {
namespace {

// Characters that are themselves in every form and never compose with the character before: a part may begin
// with one.
bool IsPlain(char32_t c) {
  return c < 0xA0 || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3105 && c <= 0x312E) ||
         (c >= 0x2012 && c <= 0x201F && c != 0x2017);
}

int CombiningClass(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// The form of one part. utf8proc's own loop sorts marks by swapping neighbours, which a long run of them
// makes quadratic; so the steps are taken here one by one.
void AppendForm(std::string_view part, UnicodeForm form, std::string* out) {
  const bool compose = form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc;
  int decompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd) decompose |= UTF8PROC_COMPAT;
  std::vector<utf8proc_int32_t> characters;
  characters.reserve(part.size());
  utf8proc_int32_t one[32];  // the longest decomposition has 18 characters
  for (size_t offset = 0; offset < part.size();) {
    const auto c = static_cast<utf8proc_int32_t>(base::NextUtf8(part, &offset));
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(c, one, std::size(one), static_cast<utf8proc_option_t>(decompose), &boundary);
    FT_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(std::size(one)));
    characters.insert(characters.end(), one, one + count);
  }
  for (size_t i = 0; i < characters.size();) {
    if (CombiningClass(characters[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < characters.size() && CombiningClass(characters[end]) != 0) ++end;
    if (end - i > 1)
      std::stable_sort(characters.begin() + i, characters.begin() + end,
                       [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
    i = end;
  }
  auto count = static_cast<utf8proc_ssize_t>(characters.size());
  if (compose)
    count = utf8proc_normalize_utf32(characters.data(), count,
                                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  FT_CHECK(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) base::AppendUtf8(static_cast<char32_t>(characters[i]), out);
}

std::string Lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t offset = 0; offset < text.size();) {
    const char32_t c = base::NextUtf8(text, &offset);
    if (c == 0x130) {
      out += "i\xCC\x87";  // i and a combining dot above
    } else {
      base::AppendUtf8(LowerCase(c), &out);
    }
  }
  return out;
}

}  // namespace

std::string NormalizeUnicode(std::string_view text, UnicodeForm form) {
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;       // of the part
  size_t last_plain = 0;  // where its last character stands, while all of it is plain
  bool all_plain = true;
  const auto flush = [&](size_t end) {
    const std::string_view part = text.substr(begin, end - begin);
    if (all_plain) {
      out += part;
    } else {
      AppendForm(part, form, &out);
    }
    begin = end;
  };
  for (size_t offset = 0; offset < text.size();) {
    const size_t at = offset;
    const char32_t c = base::NextUtf8(text, &offset);
    if (IsPlain(c)) {
      if (!all_plain) {
        flush(at);
        all_plain = true;
      }
      last_plain = at;
    } else if ((CharacterClass(c) & kInert) != 0) {
      flush(at);
      all_plain = true;
      out += text.substr(at, offset - at);
      begin = last_plain = offset;
    } else if (all_plain) {
      if (begin < at) flush(last_plain);  // the last plain character may compose with this one
      all_plain = false;
    }
  }
  flush(text.size());
  return out;
}

base::Status Normalizer::Apply(std::string* text, bool prepend) const {
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kForm:
        *text = NormalizeUnicode(*text, step.form);
        break;
      case Kind::kLowercase:
        *text = Lowercase(*text);
        break;
      case Kind::kPrepend:
        if (prepend && !text->empty()) text->insert(0, step.content);
        break;
      case Kind::kReplace: {
        std::string out;
        out.reserve(text->size());
        FT_RETURN_IF_ERROR(step.pattern->ForEachPart(*text, [&](const Pattern::Part& part) {
          out += part.is_match ? std::string_view(step.content)
                               : std::string_view(*text).substr(part.begin, part.end - part.begin);
          return base::OkStatus();
        }));
        *text = std::move(out);
        break;
      }
    }
  }
  return base::OkStatus();
}

}  // namespace fusiontree::tokenizer
