#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include <array>
#include <vector>

namespace fusiontree::tokenizer {
namespace {

struct NewerCategory {
  std::string_view name;
  std::span<const Range> ranges;
};

namespace tables {
#include "tokenizer/unicode_tables.inc"
}  // namespace tables

constexpr Range kSpaces[] = {{0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
                             {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                             {0x205f, 0x205f}, {0x3000, 0x3000}};

constexpr size_t kCodePoints = 0x110000;

// 1.1 MB of one byte a code point, filled once (under a millisecond); text touches a few pages of it.
const std::vector<uint8_t>& ClassTable() {
  static const std::vector<uint8_t> table = [] {
    std::vector<uint8_t> bits(kCodePoints, 0);
    const auto mark = [&bits](std::span<const Range> ranges, uint8_t bit) {
      for (const Range& range : ranges)
        for (char32_t c = range.first; c <= range.last; ++c) bits[c] |= bit;
    };
    mark(tables::kLetters, kLetter);
    mark(tables::kNumbers, kNumber);
    mark(kSpaces, kSpace);
    mark(tables::kNumeric, kNumeric);
    mark(tables::kInert, kInert);
    return bits;
  }();
  return table;
}

}  // namespace

uint8_t CharacterClass(char32_t c) {
  static const uint8_t* const table = ClassTable().data();
  return table[c];
}

bool IsWordCharacter(char32_t c) {
  if ((CharacterClass(c) & kLetter) != 0) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:  // the join controls, and the circled and squared letters, which are alphabetic symbols
      return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
             (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
  }
}

char32_t LowerCase(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  for (const Range& pair : tables::kLower)
    if (pair.first == c) return pair.last;
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::span<const Range> SpaceRanges() { return kSpaces; }

std::span<const Range> NewerThanPcre(std::string_view category) {
  for (const NewerCategory& newer : tables::kNewerCategories)
    if (newer.name == category) return newer.ranges;
  return {};
}

}  // namespace fusiontree::tokenizer
