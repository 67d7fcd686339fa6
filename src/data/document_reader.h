// Cuts files into documents as they stand: texts, and lines of JSON that document.h takes apart. Streams, so
// that memory is one document and a buffer.
#ifndef FUSIONTREE_DATA_DOCUMENT_READER_H_
#define FUSIONTREE_DATA_DOCUMENT_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/byte_stream.h"
#include "data/sources.h"

namespace fusiontree::data {

// What is a document of a plain text file: all of it; what lies between blank lines; a line that is not
// blank; what lies between lines that are `separator`. A line end that ends a document is no part of it, but
// for kFile. Documents without a byte are left out.
enum class Cut { kFile, kParagraphs, kLines, kSeparator };

struct ReaderOptions {
  Cut cut = Cut::kFile;
  std::string separator;
  size_t max_bytes = size_t{256} << 20;  // of a document: the most that a tokenizer takes
};

struct RawDocument {
  std::string text;
  bool json = false;      // a line of JSON
  bool too_long = false;  // longer than max_bytes, cut there
  size_t file = 0;
  int64_t line = 1;  // where it begins
};

// A byte order mark at the start of a file is passed over, and so are blank lines of JSON. One thread at a
// time.
class DocumentReader {
 public:
  DocumentReader(std::vector<SourceFile> files, ReaderOptions options);

  // The next document, or false after the last.
  base::Result<bool> Next(RawDocument* document);
  // "corpus/a.jsonl line 3", or "corpus/a.txt" for a whole file.
  std::string Where(const RawDocument& document) const;
  const ReaderOptions& options() const { return options_; }
  double progress() const;  // bytes read of all bytes, 0..1

 private:
  base::Result<bool> OpenNext();
  base::Result<bool> NextLine(std::string* line, bool* too_long);
  base::Result<bool> WholeFile(RawDocument* document);
  base::Result<bool> Pieces(RawDocument* document);
  base::Status Fill();

  std::vector<SourceFile> files_;
  ReaderOptions options_;
  size_t next_file_ = 0;
  std::optional<ByteStream> stream_;  // of files_[next_file_ - 1]
  std::string buffer_;                // [taken_, size) are bytes not yet taken
  size_t taken_ = 0;
  bool ended_ = false;  // the stream has no more bytes than the buffer
  int64_t line_ = 1;    // of the next byte
  uint64_t all_bytes_ = 0, done_bytes_ = 0;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_DOCUMENT_READER_H_
