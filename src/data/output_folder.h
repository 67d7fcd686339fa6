// A folder that appears whole or not at all.
#ifndef FUSIONTREE_DATA_OUTPUT_FOLDER_H_
#define FUSIONTREE_DATA_OUTPUT_FOLDER_H_

#include <string>
#include <string_view>

#include "base/status.h"

namespace fusiontree::data {

// Files are written into NAME.partial, which becomes NAME at the end. What an earlier run that was killed
// left there is cleared; a run that is still writing there is respected, by a lock.
class OutputFolder {
 public:
  // `path` must not be there yet, or be an empty folder: nothing is overwritten.
  static base::Result<OutputFolder> Create(const std::string& path);
  OutputFolder(OutputFolder&& other) noexcept;
  OutputFolder& operator=(OutputFolder&&) = delete;
  ~OutputFolder();  // removes what was not committed

  const std::string& path() const { return temporary_; }  // where to write
  base::Status WriteFile(const std::string& name, std::string_view text) const;
  // Copies a plain file in.
  base::Status CopyFile(const std::string& from, const std::string& name) const;
  base::Status Commit();

 private:
  OutputFolder() = default;
  std::string path_, temporary_;
  int lock_ = -1;
};

// A file on disk, flushed before Close returns. Errors name it ("cannot be written: No space left on
// device").
class OutputFile {
 public:
  static base::Result<OutputFile> Create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  base::Status Write(const void* data, size_t size);                     // at the end
  base::Status WriteAt(uint64_t offset, const void* data, size_t size);  // over what is there
  base::Status Close();

 private:
  OutputFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  base::Status Error() const;
  int descriptor_;
  uint64_t size_ = 0;
  std::string path_;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_OUTPUT_FOLDER_H_
