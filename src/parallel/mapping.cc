#include "parallel/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace fusiontree::parallel {

base::Result<Mapping> Mapping::Map(int file, size_t bytes) {
  Mapping mapping;
  mapping.file_ = file;
  const int flags = (file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_NORESERVE;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, file, 0);
  if (data == MAP_FAILED)
    return base::Failed("parallel: cannot reserve {} MB of addresses: {}", bytes >> 20, std::strerror(errno));
  mapping.data_ = static_cast<std::byte*>(data);
  mapping.bytes_ = bytes;
  return mapping;
}

base::Result<Mapping> Mapping::Anonymous(size_t bytes) { return Map(-1, bytes); }

base::Result<Mapping> Mapping::CreateShared(size_t bytes) {
  const int file = memfd_create("fusiontree", MFD_CLOEXEC);
  if (file < 0) return base::Failed("parallel: cannot make memory to share: {}", std::strerror(errno));
  if (ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    const int error = errno;
    close(file);
    return base::Failed("parallel: cannot make {} MB of memory to share: {}", bytes >> 20,
                        std::strerror(error));
  }
  return Map(file, bytes);
}

base::Result<Mapping> Mapping::OpenShared(int64_t process, int file, size_t bytes) {
  const std::string path = fmt::format("/proc/{}/fd/{}", process, file);
  const int own = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (own < 0) return base::Failed("parallel: cannot open {}: {}", path, std::strerror(errno));
  return Map(own, bytes);
}

Mapping::Mapping(Mapping&& other) noexcept { *this = std::move(other); }

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(file_, other.file_);
  return *this;
}

void Mapping::CloseFile() {
  if (file_ >= 0) close(file_);
  file_ = -1;
}

Mapping::~Mapping() {
  CloseFile();
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace fusiontree::parallel
