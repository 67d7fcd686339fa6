#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"

namespace fusiontree::base {
namespace {

// About 50 us of pauses: longer than the gaps between the regions of a decode step, short beside a scheduler
// tick.
constexpr int kSpins = 2000;

std::atomic<int> live_threads{0};  // of all pools of the process

std::vector<int> AffinityList() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> list;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) list.push_back(cpu);
  return list;
}

void RunOn(const std::vector<int>& cpus) {
  if (cpus.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

// Waits until value differs from `old`: spins first when allowed.
template <typename T>
void WaitWhile(const std::atomic<T>& value, T old, bool spin) {
  if (spin) {
    for (int i = 0; i < kSpins; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      _mm_pause();
    }
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  // Whose part has begun, as the job's generation: whoever raises it does the part.
  struct alignas(64) Claim {
    std::atomic<uint32_t> generation{0};
    bool Take(uint32_t now) {
      uint32_t before = now - 1;
      return generation.compare_exchange_strong(before, now, std::memory_order_acq_rel);
    }
  };

  std::atomic<uint32_t> generation{0};  // raised once a job
  std::atomic<int> running{0};          // the workers' parts that are not done
  std::atomic<bool> stop{false};        // a worker that comes late for a job may read it at the end
  bool pinned = false;
  Job job = nullptr;
  void* context = nullptr;
  int processors = 1;
  std::vector<Claim> claims;
  std::vector<std::thread> workers;

  bool MaySpin() const { return live_threads.load(std::memory_order_relaxed) <= processors; }

  void Work(int thread) {
    FloatMode mode;
    uint32_t seen = 0;
    while (true) {
      WaitWhile(generation, seen, MaySpin());
      seen = generation.load(std::memory_order_acquire);
      if (stop) return;
      if (!claims[static_cast<size_t>(thread)].Take(seen)) continue;  // somebody was quicker
      job(context, thread);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads, bool pin, int first) : size_(threads), state_(std::make_unique<State>()) {
  FT_CHECK(threads >= 1 && first >= 0);
  const std::vector<int>& cpus = Processors();
  const auto own = [&cpus, first](int i) {
    return cpus.empty() ? cpus : std::vector<int>{cpus[static_cast<size_t>(first + i) % cpus.size()]};
  };
  state_->processors = AvailableProcessors();
  state_->pinned = pin;
  state_->claims = std::vector<State::Claim>(static_cast<size_t>(threads));
  live_threads.fetch_add(threads);
  if (pin) RunOn(own(0));
  for (int i = 1; i < threads; ++i) {
    // A worker starts with its maker's mask, which an earlier pool may have narrowed.
    state_->workers.emplace_back([this, i, mine = pin ? own(i) : cpus] {
      RunOn(mine);
      state_->Work(i);
    });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop = true;
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
  live_threads.fetch_sub(size_);
}

void ThreadPool::RunErased(Job job, void* context) {
  FloatMode mode;
  if (size_ == 1) {
    job(context, 0);
    return;
  }
  state_->job = job;
  state_->context = context;
  state_->running.store(size_ - 1, std::memory_order_relaxed);
  const uint32_t now = state_->generation.fetch_add(1, std::memory_order_release) + 1;
  state_->generation.notify_all();
  job(context, 0);
  // A worker that the system has not let begin would hold up everybody.
  for (int i = 1; i < size_ && !state_->pinned; ++i) {
    if (!state_->claims[static_cast<size_t>(i)].Take(now)) continue;
    job(context, i);
    state_->running.fetch_sub(1, std::memory_order_acq_rel);
  }
  const bool spin = state_->MaySpin();
  for (int left = state_->running.load(std::memory_order_acquire); left != 0;
       left = state_->running.load(std::memory_order_acquire))
    WaitWhile(state_->running, left, spin);
}

const std::vector<int>& ThreadPool::Processors() {
  static const std::vector<int> processors = AffinityList();
  return processors;
}

int ThreadPool::AvailableProcessors() { return std::max(1, static_cast<int>(Processors().size())); }

FloatMode::FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(0x9FC0); }
FloatMode::~FloatMode() { _mm_setcsr(saved_); }

Range Share(int64_t n, int64_t unit, int part, int parts) {
  const int64_t units = (n + unit - 1) / unit;
  const int64_t begin = units * part / parts * unit, end = units * (part + 1) / parts * unit;
  return {begin < n ? begin : n, end < n ? end : n};
}

}  // namespace fusiontree::base
