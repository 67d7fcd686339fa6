// Cuts text into words: a sequence of steps, each of which cuts further or respells what the one before left.
#ifndef FUSIONTREE_TOKENIZER_PRE_TOKENIZER_H_
#define FUSIONTREE_TOKENIZER_PRE_TOKENIZER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tokenizer/pattern.h"

namespace fusiontree::tokenizer {

// What becomes of the matches of a Split. With "b" matching in "abbc": kIsolated a|b|b|c, kRemoved a|c,
// kContiguous a|bb|c, kMergedWithPrevious ab|b|c, kMergedWithNext a|b|bc.
enum class SplitBehavior { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };

enum class PrependScheme { kAlways, kFirst, kNever };

// Takes the words one by one, in order.
class WordSink {
 public:
  virtual ~WordSink() = default;
  virtual void Word(std::string_view word) = 0;
};

// Immutable, shared by threads.
class PreTokenizer {
 public:
  void AddSplit(Pattern pattern, SplitBehavior behavior, bool invert);
  void AddDigits(bool individual);
  void AddWhitespaceSplit();
  void AddByteLevel(bool add_prefix_space, std::optional<Pattern> pattern);
  void AddMetaspace(std::string replacement, PrependScheme scheme, std::optional<Pattern> split_at);

  // Drops a ByteLevel respelling from the last step and says whether there was one: then the words come as
  // raw bytes, and the model spells them.
  bool TakeFinalByteLevel();

  // Calls `sink` with the words of `text`, none of them empty. `at_start`: the text is the beginning of the
  // whole.
  base::Status Run(std::string_view text, bool at_start, WordSink* sink) const;

 private:
  enum class Kind { kSplit, kDigits, kWhitespace, kByteLevel, kMetaspace };
  struct Step {
    Kind kind;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    std::optional<Pattern> pattern;
    bool prefix_space = false;  // ByteLevel
    bool respell = false;       // ByteLevel
    std::string replacement;    // Metaspace
    PrependScheme scheme = PrependScheme::kNever;
  };
  base::Status RunFrom(size_t step, std::string_view text, bool at_start, WordSink* sink) const;
  base::Status RunPattern(size_t step, std::string_view text, bool at_start, WordSink* sink) const;
  base::Status RunCharacters(size_t step, std::string_view text, bool at_start, WordSink* sink) const;
  base::Status RunByteLevel(size_t step, std::string_view text, bool at_start, WordSink* sink) const;

  std::vector<Step> steps_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_PRE_TOKENIZER_H_
