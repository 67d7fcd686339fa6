// What the commands that read documents share: which files, where they are cut, what becomes of invalid ones.
#ifndef FUSIONTREE_CLI_DOCUMENT_FLAGS_H_
#define FUSIONTREE_CLI_DOCUMENT_FLAGS_H_

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/options.h"
#include "data/document_reader.h"
#include "data/pipeline.h"

namespace fusiontree::cli {

struct DocumentFlags {
  std::vector<std::string> paths;
  std::string cut = "file";
  std::optional<std::string> separator, text_key;
  bool skip_invalid = false;
  int64_t threads = 0;  // 0: one per processor

  void Declare(Options& options);
  base::Result<data::DocumentReader> Open() const;
  int Threads() const;
  std::string TextKey() const { return text_key.value_or("text"); }
  // With a bar on stderr called `label`; Finish it by destroying the options.
  data::PipelineOptions Pipeline(const std::string& label) const;
};

// On stderr: which documents were left out and why, if any.
void TellSkipped(const std::string& command, const data::PipelineReport& report);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_DOCUMENT_FLAGS_H_
