// Any bytes as a file of documents: errors are sentences, and what is valid becomes ids that spell its text.
// The first byte says what file it is and how it is cut.
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "data/byte_tokenizer.h"
#include "data/document.h"
#include "data/document_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fusiontree::data::Cut;
  using fusiontree::data::DocumentParser;
  static const auto* const tokenizer =
      new fusiontree::tokenizer::Tokenizer(fusiontree::data::ByteTokenizer());
  static const auto* const parser =
      new fusiontree::base::Result<DocumentParser>(DocumentParser::Make(tokenizer));
  if (size == 0) return 0;
  const int descriptor = memfd_create("documents", MFD_CLOEXEC);
  FT_CHECK(descriptor >= 0 && write(descriptor, data + 1, size - 1) == static_cast<ssize_t>(size - 1));
  fusiontree::data::SourceFile file;
  file.path = "/proc/self/fd/" + std::to_string(descriptor);
  file.jsonl = (data[0] & 1) != 0;
  file.zst = (data[0] & 2) != 0;
  file.size = size - 1;
  fusiontree::data::DocumentReader reader(
      {file}, {.cut = static_cast<Cut>(data[0] >> 2 & 3), .separator = "--", .max_bytes = 1 << 16});
  for (fusiontree::data::RawDocument raw;;) {
    const auto more = reader.Next(&raw);
    FT_CHECK(more.ok() || !more.status().message().empty());
    if (!more.ok() || !*more) break;
    FT_CHECK(!raw.text.empty() && raw.text.size() <= 1 << 16 && !reader.Where(raw).empty());
    const auto document = (*parser)->Parse(raw);
    if (!document.ok()) {
      FT_CHECK(!document.status().message().empty());
      continue;
    }
    FT_CHECK(fusiontree::base::FindInvalidUtf8(document->text) == std::string_view::npos);
    const auto encoded = fusiontree::data::EncodeDocument(*document, *tokenizer);
    if (!encoded.ok()) continue;
    FT_CHECK(encoded->targets.empty() || encoded->targets.size() == encoded->ids.size());
    const auto text = tokenizer->Decode(encoded->ids, /*skip_special=*/false);
    FT_CHECK(text.ok() && text->starts_with(document->text) && encoded->ids.back() == *tokenizer->eos_id());
  }
  close(descriptor);
  return 0;
}
