// The folder of a training run: taken by one run at a time, and never one that holds something else.
#ifndef FUSIONTREE_CLI_RUN_FOLDER_H_
#define FUSIONTREE_CLI_RUN_FOLDER_H_

#include <string>

#include "base/status.h"

namespace fusiontree::cli {

class RunFolder {
 public:
  // With `resume` the folder must be there; else it is made, and may hold at most what a run leaves that
  // ended before its first checkpoint. Errors: another run is writing into it, it is a run already, it holds
  // what no run wrote.
  static base::Result<RunFolder> Open(const std::string& path, bool resume);
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder();

  // Takes the folder away again if Open made it.
  void Forget();

 private:
  RunFolder() = default;
  std::string path_;
  bool made_ = false;
  int lock_ = -1;
};

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_RUN_FOLDER_H_
