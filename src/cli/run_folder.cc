#include "cli/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "report/run_log.h"
#include "train/snapshot_folder.h"

namespace fusiontree::cli {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLock = "lock";

base::Status CheckNew(const std::string& path) {
  if (!train::ListSnapshots(path).empty())
    return base::BadInput("{}: is a run already: --resume goes on with it", path);
  const std::string_view known[] = {kLock,         "initial", "checkpoints",
                                    "tensorboard", "plots",   report::kMetricsFile};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    if (std::find(std::begin(known), std::end(known), name) == std::end(known))
      return base::BadInput("{}: holds {}, which is of no training run: choose a folder of its own", path,
                            name);
  }
  if (error) return base::BadInput("{}: cannot be read: {}", path, error.message());
  return base::OkStatus();
}

}  // namespace

base::Result<RunFolder> RunFolder::Open(const std::string& path, bool resume) {
  RunFolder folder;
  folder.path_ = path;
  std::error_code error;
  if (resume && !fs::is_directory(path, error))
    return base::BadInput("{}: there is no run to go on with", path);
  if (!resume) {
    folder.made_ = fs::create_directories(path, error);
    if (error) return base::BadInput("{}: cannot be made: {}", path, error.message());
    if (!folder.made_) FT_RETURN_IF_ERROR(CheckNew(path));
  }
  const std::string lock = path + "/" + kLock;
  folder.lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (folder.lock_ < 0)
    return base::BadInput("{}: cannot be opened: {}", lock, std::generic_category().message(errno));
  if (::flock(folder.lock_, LOCK_EX | LOCK_NB) != 0)
    return base::BadInput("{}: another run is writing into this folder", path);
  return folder;
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), made_(other.made_), lock_(std::exchange(other.lock_, -1)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

void RunFolder::Forget() {
  std::error_code ignored;
  if (made_) fs::remove_all(path_, ignored);
}

}  // namespace fusiontree::cli
