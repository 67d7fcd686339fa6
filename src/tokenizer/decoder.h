// From token texts back to text: the decoders of tokenizer.json, whole and as a stream.
#ifndef FUSIONTREE_TOKENIZER_DECODER_H_
#define FUSIONTREE_TOKENIZER_DECODER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tokenizer/pattern.h"

namespace fusiontree::tokenizer {

// A sequence of steps. Immutable, shared by threads. Without any step (and join_with_spaces) tokens are
// joined by spaces, as Hugging Face does for a tokenizer without a decoder.
class Decoder {
 public:
  void AddByteLevel() { steps_.push_back({.kind = Kind::kByteLevel}); }
  void AddByteFallback() { steps_.push_back({.kind = Kind::kByteFallback}); }
  void AddFuse() { steps_.push_back({.kind = Kind::kFuse}); }
  void AddReplace(Pattern pattern, std::string content) {
    steps_.push_back({.kind = Kind::kReplace, .text = std::move(content), .pattern = std::move(pattern)});
  }
  // Takes up to `start` and `stop` characters `character` off the ends of each token.
  void AddStrip(std::string character, size_t start, size_t stop) {
    steps_.push_back({.kind = Kind::kStrip, .text = std::move(character), .start = start, .stop = stop});
  }
  // Replacement characters become spaces; in the first token they vanish when `drops_first`.
  void AddMetaspace(std::string replacement, bool drops_first) {
    steps_.push_back({.kind = Kind::kMetaspace, .text = std::move(replacement), .drops_first = drops_first});
  }
  void JoinWithSpaces() { join_with_spaces_ = true; }

  // Well-formed text: bytes that are no characters become U+FFFD.
  base::Result<std::string> Decode(std::vector<std::string> tokens) const;

  // Decodes token by token. What it gives, one after the other, is what Decode gives for all tokens, save
  // that a run of <0xHH> tokens that is ill-formed as a whole keeps its well-formed characters (Decode gives
  // one U+FFFD a byte).
  class Stream {
   public:
    explicit Stream(const Decoder* decoder);
    // Complete characters only; the rest waits for more or for Finish.
    std::string Push(std::string_view token);
    std::string Finish();

   private:
    struct StepState {
      bool started = false;   // Metaspace: the first token has been
      size_t stripped = 0;    // Strip behind Fuse: characters taken so far
      bool stripping = true;  // Strip behind Fuse: nothing else has come yet
      std::string bytes;      // ByteFallback: a character's first bytes
    };
    void Run(size_t step, std::string text, bool finish, std::string* out);
    void RunByteFallback(size_t step, std::string_view text, bool finish, std::string* out);

    const Decoder* decoder_;
    std::vector<StepState> states_;
    bool first_ = true;
    std::string tail_;               // bytes of an unfinished character
    std::vector<std::string> held_;  // all tokens, when the steps allow no stream
  };

 private:
  enum class Kind { kByteLevel, kByteFallback, kFuse, kReplace, kStrip, kMetaspace };
  struct Step {
    Kind kind;
    std::string text;  // Replace: content; Strip: the character; Metaspace: the replacement
    std::optional<Pattern> pattern;
    size_t start = 0;
    size_t stop = 0;
    bool drops_first = false;
  };
  bool Streams() const;

  std::vector<Step> steps_;
  bool join_with_spaces_ = false;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_DECODER_H_
