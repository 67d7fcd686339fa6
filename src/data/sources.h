// Which files a data set is made of.
#ifndef FUSIONTREE_DATA_SOURCES_H_
#define FUSIONTREE_DATA_SOURCES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::data {

struct SourceFile {
  std::string path;
  bool jsonl = false;  // NAME.jsonl or NAME.jsonl.zst: one JSON object a line; any other file is plain text
  bool zst = false;    // NAME.zst
  uint64_t size = 0;   // bytes on disk
};

// The plain files that `paths` name, in their order: a file; a folder, with all that is below it; a pattern
// (*, ?, [..]) where no file is called so. What a folder or a pattern yields is sorted by bytes. Names that
// begin with a dot are passed over, links to folders are not followed, and a file named twice counts once.
// Errors: nothing there, no file in it, a FIFO or device, a compressed form that is not read.
base::Result<std::vector<SourceFile>> FindSources(const std::vector<std::string>& paths);

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_SOURCES_H_
