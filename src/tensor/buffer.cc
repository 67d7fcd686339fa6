#include "tensor/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace fusiontree::tensor {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallPage = 4096;
constexpr size_t kMapFrom = size_t{1} << 20;  // smaller buffers come from malloc

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

base::Result<Buffer> Buffer::Create(size_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  if (bytes > (size_t{1} << 46)) return base::BadInput("cannot allocate {} bytes of memory", bytes);
  if (bytes < kMapFrom) {
    const size_t size = RoundUp(bytes, 64);
    buffer.data_ = static_cast<std::byte*>(std::aligned_alloc(64, size));
    if (buffer.data_ == nullptr) return base::BadInput("cannot allocate {} bytes of memory", bytes);
    std::memset(buffer.data_, 0, size);
    buffer.size_ = bytes;
    return buffer;
  }
  // Map one huge page more than needed and give the unaligned ends back.
  const size_t size = RoundUp(bytes, kHugePage);
  void* map = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return base::BadInput("cannot allocate {} bytes of memory", bytes);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(map), aligned = RoundUp(begin, kHugePage);
  if (aligned != begin) munmap(map, aligned - begin);
  if (aligned - begin != kHugePage)
    munmap(reinterpret_cast<void*>(aligned + size), kHugePage - (aligned - begin));
  madvise(reinterpret_cast<void*>(aligned), size, MADV_HUGEPAGE);  // a wish: small pages give the same bits
  buffer.data_ = reinterpret_cast<std::byte*>(aligned);
  buffer.size_ = bytes;
  return buffer;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (size_ < kMapFrom) {
    std::free(data_);
  } else {
    munmap(data_, RoundUp(size_, kHugePage));
  }
}

void Discard(void* data, size_t bytes) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = RoundUp(at, kSmallPage), end = (at + bytes) / kSmallPage * kSmallPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void* Arena::Take(size_t bytes) {
  const size_t size = RoundUp(std::max<size_t>(bytes, 1), 64);
  while (chunk_ < chunks_.size() && chunks_[chunk_].size() - used_ < size) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    base::Result<Buffer> chunk = Buffer::Create(RoundUp(std::max(size, capacity() / 2), kHugePage));
    FT_CHECK(
        chunk.ok());  // activations are bounded by the chunk of a prefill; without them nothing can go on
    chunks_.push_back(std::move(chunk).value());
  }
  void* piece = chunks_[chunk_].data() + used_;
  used_ += size;
  return piece;
}

void Arena::Reset() {
  if (chunks_.size() > 1) {
    const size_t total = capacity();
    chunks_.clear();
    base::Result<Buffer> chunk = Buffer::Create(total);
    FT_CHECK(chunk.ok());
    chunks_.push_back(std::move(chunk).value());
  }
  chunk_ = 0;
  used_ = 0;
}

size_t Arena::capacity() const {
  size_t total = 0;
  for (const Buffer& chunk : chunks_) total += chunk.size();
  return total;
}

}  // namespace fusiontree::tensor
