// A fork-join pool of fixed size with static partition: thread i of n always does part i (R7: threads split
// outputs, never a reduction). The caller is thread 0. Workers spin briefly between jobs, then sleep; they
// never spin when the process has more pool threads than the machine has cores.
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

  // Calls f(thread) once on each thread and returns when all are done. One caller at a time; f must not call
  // Run. Every thread computes under FloatMode (below).
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
