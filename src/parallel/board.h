// Where the ranks of one machine meet: a barrier, the first failure and each rank's sign of life, in memory
// that all of them see, be they threads or processes. Nothing here is a pointer, and every atomic is
// lock-free, so it works at different addresses in different processes.
#ifndef FUSIONTREE_PARALLEL_BOARD_H_
#define FUSIONTREE_PARALLEL_BOARD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace fusiontree::parallel {

// One rank's place, a cache line of its own. Written by that rank, read by the watchdogs of the others.
struct alignas(64) Seat {
  std::atomic<uint32_t> beats{0};  // raised twice a second while the process runs
  std::atomic<uint32_t> left{0};   // 1: this rank has said goodbye
  int32_t rank = 0;                // in the whole job
  int32_t process = 0;             // its id
};

class Board {
 public:
  // Everybody's `size`-th arrival lets all go; false at once when the job has failed, and when the ranks'
  // signatures (what each believes to be doing) differ, which fails it. With `spin` a rank first waits on the
  // processor (for about 100 us), then asleep. What a rank wrote before is seen by all after.
  bool Arrive(int size, uint64_t signature, bool spin);

  // The first error stands; wakes everybody.
  void Fail(const base::Status& why);
  bool failed() const { return failure_.load(std::memory_order_acquire) == kFailed; }
  base::Status status() const;
  // True for one caller only: the one that prints why the job ends.
  bool Announce() { return announced_.exchange(1) == 0; }

 private:
  static constexpr uint32_t kFine = 0, kBeingWritten = 1, kFailed = 2;

  void WakeAll();

  // Arrivals of this epoch in the low 16 bits; above them the sum of the signatures, so that one atomic
  // addition both counts and compares.
  alignas(64) std::atomic<uint64_t> arrivals_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};  // raised when all have arrived, and by Fail
  std::atomic<uint32_t> sleepers_{0};
  alignas(64) std::atomic<uint32_t> failure_{kFine};
  std::atomic<uint32_t> announced_{0};
  int32_t kind_ = 0;
  uint32_t length_ = 0;
  char sentence_[1000] = {};
};

// The memory of the ranks of one machine: the board, the seats, and for each rank two windows of floats and
// two small ones for control data. Pages that nobody touches cost nothing.
struct Region {
  static constexpr size_t kControlBytes = size_t{64} << 10;

  std::byte* memory = nullptr;  // Bytes() zeros at first, page aligned
  int size = 1;
  size_t window_bytes = 0;  // multiple of a page

  size_t Bytes() const { return WindowOffset(size); }
  void Construct() const;  // by one, before anybody else looks
  Board& board() const { return *reinterpret_cast<Board*>(memory); }
  Seat& seat(int rank) const { return reinterpret_cast<Seat*>(memory + sizeof(Board))[rank]; }
  std::byte* window(int rank, int64_t turn) const {
    return memory + WindowOffset(rank) + static_cast<size_t>(turn % 2) * window_bytes;
  }
  std::byte* control(int rank, int64_t turn) const {
    return memory + WindowOffset(rank) + 2 * window_bytes + static_cast<size_t>(turn % 2) * kControlBytes;
  }

 private:
  size_t WindowOffset(int rank) const {
    const size_t head = sizeof(Board) + static_cast<size_t>(size) * sizeof(Seat);
    return (head + 4095) / 4096 * 4096 + static_cast<size_t>(rank) * 2 * (window_bytes + kControlBytes);
  }
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_BOARD_H_
