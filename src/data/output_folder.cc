#include "data/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/bytes.h"
#include "checkpoint/folder.h"

namespace fusiontree::data {
namespace {

namespace fs = std::filesystem;
using base::BadInput;
using base::Failed;
using base::Quote;

base::Status SyncFolder(const std::string& path) {
  const int descriptor = open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  return synced ? base::OkStatus() : Failed("{} cannot be flushed: {}", Quote(path), std::strerror(error));
}

}  // namespace

base::Result<OutputFolder> OutputFolder::Create(const std::string& path) {
  OutputFolder folder;
  folder.path_ = path;
  while (folder.path_.size() > 1 && folder.path_.ends_with('/')) folder.path_.pop_back();
  std::error_code error;
  if (fs::exists(fs::symlink_status(folder.path_, error)) && !fs::is_empty(folder.path_, error))
    return BadInput("{} is there already; nothing is overwritten", Quote(path));
  if (fs::exists(folder.path_, error) && !fs::is_directory(folder.path_, error))
    return BadInput("{} is no folder", Quote(path));
  const std::string temporary = folder.path_ + ".partial";
  fs::create_directories(temporary, error);
  if (error) return BadInput("{} cannot be made: {}", Quote(temporary), error.message());
  folder.lock_ = open(temporary.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder.lock_ < 0) return BadInput("{} cannot be opened: {}", Quote(temporary), std::strerror(errno));
  if (flock(folder.lock_, LOCK_EX | LOCK_NB) != 0)
    return BadInput("another run is writing {} at the moment", Quote(path));
  folder.temporary_ = temporary;
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary, error)) {
    fs::remove_all(entry.path(), error);
    if (error) return Failed("{} cannot be cleared: {}", Quote(temporary), error.message());
  }
  return folder;
}

OutputFolder::OutputFolder(OutputFolder&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, "")),
      lock_(std::exchange(other.lock_, -1)) {}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  if (lock_ >= 0) close(lock_);
}

base::Status OutputFolder::WriteFile(const std::string& name, std::string_view text) const {
  FT_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(temporary_ + "/" + name));
  FT_RETURN_IF_ERROR(file.Write(text.data(), text.size()));
  return file.Close();
}

base::Status OutputFolder::CopyFile(const std::string& from, const std::string& name) const {
  FT_ASSIGN_OR_RETURN(const std::string text, checkpoint::ReadSmallFile(from, uint64_t{1} << 30));
  std::error_code error;
  fs::create_directories(fs::path(temporary_ + "/" + name).parent_path(), error);
  return WriteFile(name, text);
}

base::Status OutputFolder::Commit() {
  FT_RETURN_IF_ERROR(SyncFolder(temporary_));
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    return Failed("{} cannot be renamed to {}: {}", Quote(temporary_), Quote(path_), std::strerror(errno));
  temporary_.clear();
  return SyncFolder(fs::path(path_).parent_path().string());
}

base::Result<OutputFile> OutputFile::Create(const std::string& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return Failed("{} cannot be written: {}", Quote(path), std::strerror(errno));
  return OutputFile(descriptor, path);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

base::Status OutputFile::Error() const {
  return Failed("{} cannot be written: {}", Quote(path_), std::strerror(errno));
}

base::Status OutputFile::WriteAt(uint64_t offset, const void* data, size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = pwrite(descriptor_, from, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error();
    from += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
  return base::OkStatus();
}

base::Status OutputFile::Write(const void* data, size_t size) {
  FT_RETURN_IF_ERROR(WriteAt(size_, data, size));
  size_ += size;
  return base::OkStatus();
}

base::Status OutputFile::Close() {
  // Some file systems report a full disk only here.
  if (fsync(descriptor_) != 0) return Error();
  return close(std::exchange(descriptor_, -1)) == 0 ? base::OkStatus() : Error();
}

}  // namespace fusiontree::data
