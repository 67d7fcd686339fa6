#include "checkpoint/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bytes.h"

namespace fusiontree::checkpoint {

using base::BadInput;
using base::Quote;
using base::Result;
using base::Status;

std::string_view KindOfFile(mode_t mode) {
  if (S_ISREG(mode)) return "a plain file";
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

Result<InputFile> InputFile::Open(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT && lstat(path.c_str(), &status) == 0) {
      return BadInput("{} is a link to a file that does not exist", Quote(path));
    }
    if (errno == ENOENT) return BadInput("{} does not exist", Quote(path));
    return BadInput("{} cannot be opened: {}", Quote(path), std::strerror(errno));
  }
  // Looked at before opening, because opening a device can have effects of its own.
  if (!S_ISREG(status.st_mode)) {
    return BadInput("{} must be a plain file, but is {}", Quote(path), KindOfFile(status.st_mode));
  }
  // Not blocking, in case a FIFO has taken the file's place since.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return BadInput("{} cannot be opened: {}", Quote(path), std::strerror(errno));
  InputFile file(descriptor, 0, path);
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    return BadInput("{} was replaced while it was being opened", Quote(path));
  }
  file.size_ = static_cast<uint64_t>(status.st_size);
  return file;
}

InputFile::InputFile(InputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status InputFile::ReadAt(uint64_t offset, uint64_t size, void* out) const {
  constexpr uint64_t kMaxCall = 1u << 30;  // Linux reads at most 2 GiB a call
  char* to = static_cast<char*>(out);
  for (uint64_t done = 0; done < size;) {
    const ssize_t got =
        pread(descriptor_, to + done, std::min(size - done, kMaxCall), static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return base::Failed("{} cannot be read at byte {}: {}", Quote(path_), offset + done,
                          std::strerror(errno));
    if (got == 0) {
      return BadInput(
          "{} has become shorter: it had {} bytes when it was opened and now ends at or before byte {}",
          Quote(path_), size_, offset + done);
    }
    done += static_cast<uint64_t>(got);
  }
  return base::OkStatus();
}

}  // namespace fusiontree::checkpoint
