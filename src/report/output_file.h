// Writes files so that whoever reads them finds the old one or the whole new one.
#ifndef FUSIONTREE_REPORT_OUTPUT_FILE_H_
#define FUSIONTREE_REPORT_OUTPUT_FILE_H_

#include <string>
#include <string_view>

#include "base/status.h"

namespace fusiontree::report {

// All of `bytes` to the end of the file that is open for it, or, on an error (a full disk), nothing of them:
// what was written is taken back. The error names `path`.
base::Status AppendAll(int descriptor, std::string_view bytes, const std::string& path);

// Under a temporary name beside `path`, then synced and renamed. Refuses to replace what is no regular file.
base::Status ReplaceFile(const std::string& path, std::string_view bytes);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_OUTPUT_FILE_H_
