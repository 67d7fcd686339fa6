// Bytes that came from outside: a reader that never leaves its span, and a way to print them safely.
#ifndef FUSIONTREE_BASE_BYTES_H_
#define FUSIONTREE_BASE_BYTES_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/status.h"

namespace fusiontree::base {

static_assert(std::endian::native == std::endian::little, "file formats are read in place as little endian");

// Walks a span from front to back, little endian. A read past the end changes nothing but ran_out() and is
// an error that says `what` was being read, at which byte, and how many bytes were left. The span must
// outlive it.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  // Whether a read has asked for more than there was: a caller that holds only the start of a file can
  // come back with more of it.
  bool ran_out() const { return ran_out_; }

  template <typename T>
  Status Read(T* out, std::string_view what) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    if (remaining() < sizeof(T)) return RanOut(sizeof(T), what);
    std::memcpy(out, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return OkStatus();
  }
  // A view into the span.
  Status ReadBytes(uint64_t size, std::string_view what, std::string_view* out) {
    if (remaining() < size) return RanOut(size, what);
    *out = std::string_view(reinterpret_cast<const char*>(bytes_.data() + position_), size);
    position_ += size;
    return OkStatus();
  }

 private:
  Status RanOut(uint64_t size, std::string_view what);

  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  bool ran_out_ = false;
};

// Length of the longest prefix that is UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF);
// text.size() when all of it is.
size_t ValidUtf8Prefix(std::string_view text);

// `text` in double quotes for an error sentence: control characters, quotes and bytes that are not UTF-8
// as \xNN, at most about 120 bytes (the rest as "...").
std::string Quote(std::string_view text);

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_BYTES_H_
