// Owned memory. Large buffers are anonymous mappings aligned to 2 MB and offered to huge pages (weights
// stream through them at up to twice the speed of 4 KB pages); their pages are zero until first touched, by
// the thread that will read them.
#ifndef FUSIONTREE_TENSOR_BUFFER_H_
#define FUSIONTREE_TENSOR_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"

namespace fusiontree::tensor {

// Zero-initialised, 64-byte aligned (2 MB aligned from 1 MB on), given back on destruction. Movable.
class Buffer {
 public:
  Buffer() = default;
  // Fails with a sentence when the system has no memory to give.
  static base::Result<Buffer> Create(size_t bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Gives the physical memory of whole pages in [data, data + bytes) back to the system; what lies there is
// lost.
void Discard(void* data, size_t bytes);

// Memory for the activations of one forward: pieces are taken in order and given back all at once. A forward
// that needs more than is there gets a new chunk; Reset joins the chunks into one, so a steady load takes no
// memory.
class Arena {
 public:
  // 64-byte aligned, contents undefined. Valid until Reset.
  void* Take(size_t bytes);
  template <typename T>
  T* TakeArray(int64_t n) {
    return static_cast<T*>(Take(static_cast<size_t>(n) * sizeof(T)));
  }
  void Reset();
  size_t capacity() const;

  // What is taken during its life is given back at its end, for the next one to take.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), chunk_(arena.chunk_), used_(arena.used_) {}
    ~Scope() {
      arena_.chunk_ = chunk_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t chunk_, used_;
  };

 private:
  std::vector<Buffer> chunks_;
  size_t chunk_ = 0, used_ = 0;  // the present chunk, and bytes of it; those before are full
};

}  // namespace fusiontree::tensor

#endif  // FUSIONTREE_TENSOR_BUFFER_H_
