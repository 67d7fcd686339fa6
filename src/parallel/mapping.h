// A range of zero pages that may be seen by several processes. Only pages that are touched take memory.
#ifndef FUSIONTREE_PARALLEL_MAPPING_H_
#define FUSIONTREE_PARALLEL_MAPPING_H_

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace fusiontree::parallel {

// Movable; unmapped on destruction.
class Mapping {
 public:
  Mapping() = default;
  static base::Result<Mapping> Anonymous(size_t bytes);
  // A file without a name, in memory, that others of this user on this machine can open by (process, file)
  // until CloseFile. Nothing is left behind however its processes end, and /dev/shm's size is no limit.
  static base::Result<Mapping> CreateShared(size_t bytes);
  static base::Result<Mapping> OpenShared(int64_t process, int file, size_t bytes);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::byte* data() const { return data_; }
  int file() const { return file_; }
  void CloseFile();

 private:
  static base::Result<Mapping> Map(int file, size_t bytes);

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  int file_ = -1;
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_MAPPING_H_
