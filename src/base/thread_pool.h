// A fork-join pool of fixed size with static partition into n parts (R7: threads split outputs, never a
// reduction). Thread i does part i; the caller is thread 0, and also does the parts that no worker has begun
// when its own is done: on a busy machine a worker may wait milliseconds for a processor. Workers spin
// briefly between jobs, then sleep; they never spin when the process has more pool threads than the machine
// has cores.
#ifndef FUSIONTREE_BASE_THREAD_POOL_H_
#define FUSIONTREE_BASE_THREAD_POOL_H_

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

namespace fusiontree::base {

class ThreadPool {
 public:
  // `threads` >= 1. With `pin`, thread i runs on processor `first` + i of Processors(), round and round.
  explicit ThreadPool(int threads, bool pin = false, int first = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Calls f(part) once for each part and returns when all are done; no part may wait for another. One caller
  // at a time; f must not call Run. Every part runs under FloatMode (below), of a pinned pool on its own
  // thread.
  template <typename F>
  void Run(F&& f) {
    using Function = std::remove_reference_t<F>;
    RunErased([](void* context, int thread) { (*static_cast<Function*>(context))(thread); },
              const_cast<void*>(static_cast<const void*>(&f)));
  }

  // Processors that this process may run on, as they were when first asked for: a pinned pool narrows its
  // caller's own mask.
  static const std::vector<int>& Processors();
  static int AvailableProcessors();  // how many: at least 1

 private:
  using Job = void (*)(void*, int);
  void RunErased(Job job, void* context);
  struct State;
  int size_;
  std::unique_ptr<State> state_;
};

// MXCSR 0x9FC0 for the life of the object (R13): round to nearest, exceptions masked, FTZ and DAZ.
class FloatMode {
 public:
  FloatMode();
  ~FloatMode();
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  unsigned saved_;
};

// The share of thread `part` of `parts` of [0, n), cut at multiples of `unit`: contiguous, in order, as even
// as whole units allow, empty where there are too few.
struct Range {
  int64_t begin, end;
};
Range Share(int64_t n, int64_t unit, int part, int parts);

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_THREAD_POOL_H_
