// What happens to text before it is cut: Unicode forms, replacements, a prefix.
#ifndef FUSIONTREE_TOKENIZER_NORMALIZER_H_
#define FUSIONTREE_TOKENIZER_NORMALIZER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tokenizer/pattern.h"

namespace fusiontree::tokenizer {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

// The form of well-formed `text`, as the Unicode tables of Hugging Face's normaliser have it.
std::string NormalizeUnicode(std::string_view text, UnicodeForm form);

// A sequence of steps, none by default. Immutable, shared by threads.
class Normalizer {
 public:
  void AddForm(UnicodeForm form) { steps_.push_back({Kind::kForm, form, {}, {}}); }
  void AddLowercase() { steps_.push_back({Kind::kLowercase, {}, {}, {}}); }
  void AddPrepend(std::string prefix) { steps_.push_back({Kind::kPrepend, {}, std::move(prefix), {}}); }
  void AddReplace(Pattern pattern, std::string content) {
    steps_.push_back({Kind::kReplace, {}, std::move(content), std::move(pattern)});
  }
  bool empty() const { return steps_.empty(); }

  // Replaces *text (well-formed) by its normal form. `prepend` false leaves the Prepend steps out: for the
  // later part of a text that is normalised in parts.
  base::Status Apply(std::string* text, bool prepend = true) const;

 private:
  enum class Kind { kForm, kLowercase, kPrepend, kReplace };
  struct Step {
    Kind kind;
    UnicodeForm form;
    std::string content;
    std::optional<Pattern> pattern;
  };
  std::vector<Step> steps_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_NORMALIZER_H_
