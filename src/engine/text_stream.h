// From generated tokens to text as it may be shown: whole characters, without special tokens, cut exactly
// before a stop string and never showing the beginning of one.
#ifndef FUSIONTREE_ENGINE_TEXT_STREAM_H_
#define FUSIONTREE_ENGINE_TEXT_STREAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/stop_strings.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::engine {

class TextStream {
 public:
  // `prompt` is what the generated tokens continue (the first token of a text may be spelt differently).
  // `stops` passed StopStrings::Check. The tokenizer must outlive the stream.
  TextStream(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& prompt,
             std::vector<std::string> stops);

  // What the token adds to the text; nothing once stopped().
  std::string Push(int32_t id);
  bool stopped() const { return stops_.found(); }
  // The text ends here: what was held back.
  std::string Finish();

 private:
  tokenizer::StreamDecoder decoder_;
  StopStrings stops_;
};

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_TEXT_STREAM_H_
