#include "data/document_reader.h"

#include <algorithm>

namespace fusiontree::data {
namespace {

constexpr size_t kBuffer = 1 << 18;

bool Blank(const std::string& line) { return line.find_first_not_of(" \t\r\f\v") == std::string::npos; }

// `line` as it is compared with a separator: without the CR of a CRLF.
std::string_view WithoutReturn(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

DocumentReader::DocumentReader(std::vector<SourceFile> files, ReaderOptions options)
    : files_(std::move(files)), options_(std::move(options)) {
  for (const SourceFile& file : files_) all_bytes_ += file.size;
}

double DocumentReader::progress() const {
  if (all_bytes_ == 0) return 1;
  const uint64_t done = done_bytes_ + (stream_ ? stream_->bytes_read() : 0);
  return static_cast<double>(std::min(done, all_bytes_)) / static_cast<double>(all_bytes_);
}

std::string DocumentReader::Where(const RawDocument& document) const {
  const SourceFile& file = files_[document.file];
  if (!file.jsonl && options_.cut == Cut::kFile) return file.path;
  return fmt::format("{} line {}", file.path, document.line);
}

base::Status DocumentReader::Fill() {
  buffer_.resize(kBuffer);
  taken_ = 0;
  FT_ASSIGN_OR_RETURN(const size_t count, stream_->Read(buffer_.data(), buffer_.size()));
  buffer_.resize(count);
  ended_ = count == 0;
  return base::OkStatus();
}

base::Result<bool> DocumentReader::OpenNext() {
  if (next_file_ == files_.size()) return false;
  const SourceFile& file = files_[next_file_++];
  FT_ASSIGN_OR_RETURN(stream_, ByteStream::Open(file.path, file.zst));
  line_ = 1;
  FT_RETURN_IF_ERROR(Fill());
  if (buffer_.starts_with("\xEF\xBB\xBF")) taken_ = 3;
  return true;
}

// The next line without its line end; false at the end of the file.
base::Result<bool> DocumentReader::NextLine(std::string* line, bool* too_long) {
  line->clear();
  bool any = false;
  *too_long = false;
  while (true) {
    if (taken_ == buffer_.size()) FT_RETURN_IF_ERROR(Fill());
    if (ended_) break;
    any = true;
    const size_t end = std::min(buffer_.find('\n', taken_), buffer_.size());
    const size_t room = options_.max_bytes - line->size();
    *too_long |= end - taken_ > room;
    line->append(buffer_, taken_, std::min(end - taken_, room));
    taken_ = end;
    if (end == buffer_.size()) continue;
    ++taken_;
    ++line_;
    break;
  }
  return any;
}

base::Result<bool> DocumentReader::WholeFile(RawDocument* document) {
  while (!ended_) {
    const size_t room = options_.max_bytes - document->text.size();
    const size_t count = std::min(buffer_.size() - taken_, room);
    document->text.append(buffer_, taken_, count);
    if (buffer_.size() - taken_ > room) {
      document->too_long = true;
      ended_ = true;  // the rest of the file belongs to the same document
      break;
    }
    FT_RETURN_IF_ERROR(Fill());
  }
  return !document->text.empty();
}

// Lines up to a border: a document of one line or of several. False at the end of the file.
base::Result<bool> DocumentReader::Pieces(RawDocument* document) {
  const bool one_line = document->json || options_.cut == Cut::kLines;
  const bool blank_ends = one_line || options_.cut == Cut::kParagraphs;
  std::string line;
  bool begun = false;
  while (true) {
    const int64_t at = line_;
    bool too_long = false;
    FT_ASSIGN_OR_RETURN(const bool any, NextLine(&line, &too_long));
    if (!any) break;
    if (!too_long && (blank_ends ? Blank(line) : WithoutReturn(line) == options_.separator)) {
      if (begun) break;
      continue;
    }
    if (!begun) document->line = at;
    if (begun) document->text += '\n';
    begun = true;
    const size_t room = options_.max_bytes - std::min(options_.max_bytes, document->text.size());
    document->too_long |= too_long || line.size() > room;
    document->text.append(line, 0, room);
    if (one_line) break;
  }
  if (document->text.ends_with('\r')) document->text.pop_back();
  return begun;
}

base::Result<bool> DocumentReader::Next(RawDocument* document) {
  while (true) {
    if (!stream_) {
      FT_ASSIGN_OR_RETURN(const bool opened, OpenNext());
      if (!opened) return false;
    }
    *document = RawDocument{.json = files_[next_file_ - 1].jsonl, .file = next_file_ - 1};
    const bool whole = !document->json && options_.cut == Cut::kFile;
    FT_ASSIGN_OR_RETURN(const bool found, whole ? WholeFile(document) : Pieces(document));
    if (!found || whole) {  // nothing more comes out of this file
      done_bytes_ += files_[next_file_ - 1].size;
      stream_.reset();
    }
    if (found && !document->text.empty()) return true;
  }
}

}  // namespace fusiontree::data
