// Any bytes as tokenizer.json: an error sentence, or a tokenizer that encodes and decodes without harm. The
// input's last part, behind a NUL byte, is the text; without one the file's own bytes are.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

namespace {

// Patterns may be slow by their nature (a scan to the end from every character); not what is looked for here.
constexpr size_t kMaxTextBytes = 1024;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fusiontree::tokenizer::StreamDecoder;
  using fusiontree::tokenizer::Tokenizer;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t nul = input.find('\0');
  std::string_view text = nul == std::string_view::npos ? input : input.substr(nul + 1);
  text = text.substr(0, kMaxTextBytes);
  const auto tokenizer = Tokenizer::FromJson(input.substr(0, nul), "");
  if (!tokenizer.ok()) {
    FT_CHECK(!tokenizer.status().message().empty());
    return 0;
  }
  const size_t middle = std::min<size_t>(text.size(), 16);
  const bool valid = fusiontree::base::FindInvalidUtf8(text) == std::string_view::npos;
  for (const bool special : {false, true}) {
    const auto ids = tokenizer->Encode(text, {.allow_special = special, .lossy = !valid});
    if (!ids.ok()) continue;
    const auto decoded = tokenizer->Decode(*ids, special);
    FT_CHECK(!decoded.ok() || fusiontree::base::FindInvalidUtf8(*decoded) == std::string_view::npos);
    StreamDecoder stream(*tokenizer, special);
    std::string streamed;
    for (const int32_t id : *ids) {
      FT_CHECK(tokenizer->Has(id));
      streamed += stream.Push(id);
    }
    streamed += stream.Finish();
    FT_CHECK(fusiontree::base::FindInvalidUtf8(streamed) == std::string_view::npos);
  }
  const auto spans = tokenizer->EncodeSpans(text, {{0, middle}});
  FT_CHECK(!spans.ok() || valid);
  return 0;
}
