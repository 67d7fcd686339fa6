#include "engine/text_stream.h"

#include <algorithm>
#include <utility>

namespace fusiontree::engine {
namespace {

// No decoder looks further back than this many tokens; only "is this the first one" matters beyond a
// character.
constexpr size_t kContext = 16;

}  // namespace

TextStream::TextStream(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& prompt,
                       std::vector<std::string> stops)
    : decoder_(tokenizer), stops_(std::move(stops)) {
  for (size_t i = prompt.size() - std::min(prompt.size(), kContext); i < prompt.size(); ++i)
    decoder_.Push(prompt[i]);
}

std::string TextStream::Push(int32_t id) { return stopped() ? "" : stops_.Push(decoder_.Push(id)); }

std::string TextStream::Finish() {
  if (stopped()) return "";
  std::string text = stops_.Push(decoder_.Finish());
  return text + stops_.Finish();
}

}  // namespace fusiontree::engine
