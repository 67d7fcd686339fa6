// Regular expressions of tokenizer.json on PCRE2. The files are written for Oniguruma (Ruby's dialect,
// Unicode 16); Compile rewrites what the two read differently and refuses by name what it cannot rewrite.
#ifndef FUSIONTREE_TOKENIZER_PATTERN_H_
#define FUSIONTREE_TOKENIZER_PATTERN_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fusiontree::tokenizer {

// Immutable, shared by threads. A match takes bounded steps and a bounded stack; past them Find is an error.
class Pattern {
 public:
  static base::Result<Pattern> Compile(std::string_view oniguruma);
  static base::Result<Pattern> Literal(std::string_view text);

  // A stretch of the text, and whether the pattern matched it or it lies between matches.
  struct Part {
    size_t begin;
    size_t end;
    bool is_match;
  };

  // Calls `part` (Part) -> Status for all matches and all gaps in order; together they are the text. Empty
  // matches are reported unless they touch the match before. `text` is well-formed UTF-8.
  template <typename F>
  base::Status ForEachPart(std::string_view text, F part) const {
    size_t done = 0;
    Cursor cursor;
    while (true) {
      FT_RETURN_IF_ERROR(Find(text, &cursor));
      if (!cursor.found) break;
      if (cursor.begin > done) FT_RETURN_IF_ERROR(part(Part{done, cursor.begin, false}));
      FT_RETURN_IF_ERROR(part(Part{cursor.begin, cursor.end, true}));
      done = cursor.end;
    }
    if (done < text.size()) FT_RETURN_IF_ERROR(part(Part{done, text.size(), false}));
    return base::OkStatus();
  }

 private:
  struct Code;
  struct Cursor {
    size_t from = 0;
    size_t begin = 0;
    size_t end = 0;
    bool found = false;       // the last Find found [begin, end)
    bool any_before = false;  // there was a match, and it ended at `end`
  };
  explicit Pattern(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  base::Status Find(std::string_view text, Cursor* cursor) const;

  std::shared_ptr<const Code> code_;
};

// The PCRE2 spelling of an Oniguruma pattern, for tests.
base::Result<std::string> TranslateOniguruma(std::string_view pattern);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_PATTERN_H_
