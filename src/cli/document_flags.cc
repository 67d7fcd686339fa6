#include "cli/document_flags.h"

#include <cstdio>
#include <memory>

#include "base/progress.h"
#include "base/thread_pool.h"

namespace fusiontree::cli {

void DocumentFlags::Declare(Options& options) {
  options.Arguments(
      "PATHS",
      "files, folders (with all below them) and patterns; plain text, or .jsonl with a \"text\" or "
      "\"messages\" on each line; each also as .zst",
      &paths);
  options.Choice("--documents", {"file", "paragraphs", "lines"},
                 "what is a document of a plain text: the file, what stands between blank lines, or a line",
                 &cut);
  options.Text("--separator", "LINE", "documents of a plain text stand between lines that are exactly this",
               &separator);
  options.Text("--text-key", "KEY", "the key of the text in .jsonl (default text)", &text_key);
  options.Flag("--skip-invalid",
               "leave invalid documents out and count them; otherwise the first one is an error",
               &skip_invalid);
  options.Integer("--threads", "threads (default: one per processor); never changes the result", 1, 256,
                  &threads);
}

base::Result<data::DocumentReader> DocumentFlags::Open() const {
  if (paths.empty()) return base::BadInput("PATHS is missing: which files to read");
  if (separator && cut != "file") return base::BadInput("--separator and --documents exclude each other");
  if (separator && separator->find('\n') != std::string::npos)
    return base::BadInput("--separator must be one line");
  data::ReaderOptions reader;
  reader.cut = separator             ? data::Cut::kSeparator
               : cut == "paragraphs" ? data::Cut::kParagraphs
               : cut == "lines"      ? data::Cut::kLines
                                     : data::Cut::kFile;
  reader.separator = separator.value_or("");
  FT_ASSIGN_OR_RETURN(std::vector<data::SourceFile> files, data::FindSources(paths));
  return data::DocumentReader(std::move(files), reader);
}

int DocumentFlags::Threads() const {
  return threads > 0 ? static_cast<int>(threads) : base::ThreadPool::AvailableProcessors();
}

data::PipelineOptions DocumentFlags::Pipeline(const std::string& label) const {
  auto progress = std::make_shared<base::Progress>(label);
  return {.skip_invalid = skip_invalid, .progress = [progress](double part) { progress->Update(part); }};
}

void TellSkipped(const std::string& command, const data::PipelineReport& report) {
  for (const std::string& why : report.skipped_why)
    std::fprintf(stderr, "fusiontree %s: left out: %s\n", command.c_str(), why.c_str());
  const int64_t more = report.skipped - static_cast<int64_t>(report.skipped_why.size());
  if (more > 0)
    std::fprintf(stderr, "fusiontree %s: left out: %lld more\n", command.c_str(),
                 static_cast<long long>(more));
}

}  // namespace fusiontree::cli
