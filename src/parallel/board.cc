#include "parallel/board.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstring>
#include <ctime>
#include <new>
#include <string>

#include "base/check.h"

namespace fusiontree::parallel {
namespace {

// Longer than ranks of equal work drift apart in a layer, short beside a scheduler tick.
constexpr std::chrono::microseconds kSpinning(100);
constexpr int kPausesALook = 20;  // at the clock
// A sleeper looks up this often even if nobody wakes it.
constexpr timespec kNap = {0, 100'000'000};

using Clock = std::chrono::steady_clock;

constexpr uint64_t kSignatureMask = (uint64_t{1} << 48) - 1;

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

// std::atomic::wait keeps its list of waiters in the process; the kernel's own call wakes other processes
// too.
long Futex(const std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* timeout) {
  return syscall(SYS_futex, &word, operation, value, timeout, nullptr, 0);
}

// Spreads what differs in few bits, so that different signatures do not add up to the same sum.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return (x ^ (x >> 31)) & kSignatureMask;
}

}  // namespace

bool Board::Arrive(int size, uint64_t signature, bool spin) {
  // In this order: if Fail has raised the epoch that is seen here, its failure is seen too.
  const uint32_t before = epoch_.load(std::memory_order_acquire);
  if (failed()) return false;
  const uint64_t mixed = Mix(signature);
  const uint64_t sum = arrivals_.fetch_add(1 | mixed << 16, std::memory_order_acq_rel);
  if ((sum & 0xffff) + 1 == static_cast<uint64_t>(size)) {
    if ((((sum >> 16) + mixed) & kSignatureMask) !=
        ((static_cast<uint64_t>(size) * mixed) & kSignatureMask)) {
      Fail(base::Failed("parallel: the ranks are not at the same operation with the same size"));
      return false;
    }
    arrivals_.store(0, std::memory_order_relaxed);
    // Sequentially consistent with a sleeper's addition and its look at the epoch: one of the two sees the
    // other.
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) WakeAll();
    return !failed();
  }
  for (const auto begin = Clock::now(); spin && Clock::now() - begin < kSpinning;) {
    for (int i = 0; i < kPausesALook; ++i) {
      if (epoch_.load(std::memory_order_acquire) != before) return !failed();
      _mm_pause();
    }
  }
  while (epoch_.load(std::memory_order_acquire) == before && !failed()) {
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    Futex(epoch_, FUTEX_WAIT, before, &kNap);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
  return !failed();
}

void Board::WakeAll() { Futex(epoch_, FUTEX_WAKE, INT_MAX, nullptr); }

void Board::Fail(const base::Status& why) {
  FT_CHECK(!why.ok());
  uint32_t fine = kFine;
  if (!failure_.compare_exchange_strong(fine, kBeingWritten)) return;
  kind_ = static_cast<int32_t>(why.kind());
  size_t length = std::min(why.message().size(), sizeof(sentence_));
  if (length < why.message().size())  // not inside a character of UTF-8
    while (length > 0 && (static_cast<uint8_t>(why.message()[length]) & 0xc0) == 0x80) --length;
  length_ = static_cast<uint32_t>(length);
  std::memcpy(sentence_, why.message().data(), length);
  failure_.store(kFailed, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  WakeAll();
}

base::Status Board::status() const {
  if (!failed()) return base::OkStatus();
  return base::Status(static_cast<base::ErrorKind>(kind_), std::string(sentence_, length_));
}

void Region::Construct() const {
  new (memory) Board();
  for (int rank = 0; rank < size; ++rank) new (&seat(rank)) Seat();
}

}  // namespace fusiontree::parallel
