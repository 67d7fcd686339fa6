#include "report/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace fusiontree::report {

namespace {

base::Status WriteAll(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0)
      return base::Failed("{} cannot be written: {}", base::Quote(path), std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return base::OkStatus();
}

}  // namespace

base::Status AppendAll(int descriptor, std::string_view bytes, const std::string& path) {
  const off_t before = lseek(descriptor, 0, SEEK_END);
  base::Status status = WriteAll(descriptor, bytes, path);
  if (!status.ok() && before >= 0 && ftruncate(descriptor, before) != 0)
    return base::Failed("{}, and what was written cannot be taken back: {}", status.message(),
                        std::strerror(errno));
  return status;
}

base::Status ReplaceFile(const std::string& path, std::string_view bytes) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return base::BadInput("{} cannot be written: it is not a regular file", base::Quote(path));
  const std::string temporary = fmt::format("{}.{}.part", path, getpid());
  const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0)
    return base::BadInput("{} cannot be written: {}", base::Quote(path), std::strerror(errno));
  base::Status status = WriteAll(descriptor, bytes, path);
  if (status.ok() && fsync(descriptor) != 0)
    status = base::Failed("{} cannot be written: {}", base::Quote(path), std::strerror(errno));
  close(descriptor);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0)
    status = base::Failed("{} cannot be written: {}", base::Quote(path), std::strerror(errno));
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

}  // namespace fusiontree::report
