// Small inputs of commands: text files, standard input, lists of token ids.
#ifndef FUSIONTREE_CLI_FILES_H_
#define FUSIONTREE_CLI_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::cli {

constexpr size_t kMaxInputBytes = size_t{1} << 30;

// The whole file, or standard input for "-". An error names the path and says why.
base::Result<std::string> ReadInput(const std::string& path);

// A JSON list of token ids, or a list of such lists. `what` begins an error's sentence; every list has at
// least one id.
base::Result<std::vector<std::vector<int32_t>>> ParseIdLists(const std::string& what, const std::string& text,
                                                             bool* nested);

// Writes to standard output; an error when it is closed or full.
base::Status WriteOutput(const std::string& text);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_FILES_H_
