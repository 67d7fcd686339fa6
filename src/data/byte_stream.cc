#include "data/byte_stream.h"

#include <zstd.h>

#include <algorithm>

#include "base/bytes.h"

namespace fusiontree::data {
namespace {
constexpr size_t kChunk = 1 << 18;
}  // namespace

struct ByteStream::Decompressor {
  ZSTD_DStream* stream = ZSTD_createDStream();
  bool inside = false;  // a frame has begun and not ended
  ~Decompressor() { ZSTD_freeDStream(stream); }
};

ByteStream::ByteStream(checkpoint::InputFile file) : file_(std::move(file)) {}
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;
ByteStream::~ByteStream() = default;

base::Result<ByteStream> ByteStream::Open(const std::string& path, bool zst) {
  FT_ASSIGN_OR_RETURN(checkpoint::InputFile file, checkpoint::InputFile::Open(path));
  ByteStream stream(std::move(file));
  if (zst) {
    stream.zst_ = std::make_unique<Decompressor>();
    if (stream.zst_->stream == nullptr) return base::Failed("there is no memory to decompress {}", path);
  }
  return stream;
}

base::Result<size_t> ByteStream::Read(char* out, size_t size) {
  if (zst_) return ReadZst(out, size);
  const size_t count = std::min<uint64_t>(size, file_.size() - offset_);
  FT_RETURN_IF_ERROR(file_.ReadAt(offset_, count, out));
  offset_ += count;
  return count;
}

base::Status ByteStream::Fill() {
  buffer_.resize(std::min<uint64_t>(kChunk, file_.size() - offset_));
  taken_ = 0;
  FT_RETURN_IF_ERROR(file_.ReadAt(offset_, buffer_.size(), buffer_.data()));
  offset_ += buffer_.size();
  return base::OkStatus();
}

base::Result<size_t> ByteStream::ReadZst(char* out, size_t size) {
  ZSTD_outBuffer to = {out, size, 0};
  while (to.pos == 0) {
    if (taken_ == buffer_.size()) FT_RETURN_IF_ERROR(Fill());
    const bool at_end = buffer_.empty();
    if (at_end && !zst_->inside) return size_t{0};
    ZSTD_inBuffer from = {buffer_.data(), buffer_.size(), taken_};
    const size_t left = ZSTD_decompressStream(zst_->stream, &to, &from);
    if (ZSTD_isError(left))
      return base::BadInput("{} is not valid zstd: {}", base::Quote(file_.path()), ZSTD_getErrorName(left));
    // At the end of the file what is still inside the decompressor comes out, or nothing does.
    if (at_end && to.pos == 0 && left != 0)
      return base::BadInput("{} ends in the middle of its compressed data", base::Quote(file_.path()));
    taken_ = from.pos;
    zst_->inside = left != 0;
  }
  return to.pos;
}

}  // namespace fusiontree::data
