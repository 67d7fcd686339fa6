// The bytes of a file from front to back, decompressed where it is .zst.
#ifndef FUSIONTREE_DATA_BYTE_STREAM_H_
#define FUSIONTREE_DATA_BYTE_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/input_file.h"

namespace fusiontree::data {

// Holds one buffer, and for .zst its window (at most 128 MB: zstd's own default limit). One thread at a time.
class ByteStream {
 public:
  static base::Result<ByteStream> Open(const std::string& path, bool zst);
  ByteStream(ByteStream&&) noexcept;
  ByteStream& operator=(ByteStream&&) noexcept;
  ~ByteStream();

  // Up to `size` bytes; 0 only at the end. Errors: damaged or cut short.
  base::Result<size_t> Read(char* out, size_t size);
  uint64_t bytes_read() const { return offset_; }  // of the file itself

 private:
  struct Decompressor;
  explicit ByteStream(checkpoint::InputFile file);
  base::Status Fill();
  base::Result<size_t> ReadZst(char* out, size_t size);

  checkpoint::InputFile file_;
  uint64_t offset_ = 0;
  std::vector<char> buffer_;  // compressed bytes not yet taken: [taken_, buffer_.size())
  size_t taken_ = 0;
  std::unique_ptr<Decompressor> zst_;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_BYTE_STREAM_H_
