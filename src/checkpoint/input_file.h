// One plain file, open for reading by position.
#ifndef FUSIONTREE_CHECKPOINT_INPUT_FILE_H_
#define FUSIONTREE_CHECKPOINT_INPUT_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fusiontree::checkpoint {

// "a plain file", "a folder", "a FIFO", "a device", "a socket" for the mode that stat gave.
std::string_view KindOfFile(mode_t mode);

// Never mapped: a file that is cut short while it is read is an error, not a signal. Safe from many threads.
class InputFile {
 public:
  // Refuses by name what is not a plain file, without waiting on a FIFO or touching a device.
  static base::Result<InputFile> Open(const std::string& path);

  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened

  // All of [offset, offset + size), or an error when the file has become shorter.
  base::Status ReadAt(uint64_t offset, uint64_t size, void* out) const;

 private:
  InputFile(int descriptor, uint64_t size, std::string path)
      : descriptor_(descriptor), size_(size), path_(std::move(path)) {}

  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::string path_;
};

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_INPUT_FILE_H_
