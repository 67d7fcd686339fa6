// What every operation is given: no globals (architecture: "A context, no globals").
#ifndef FUSIONTREE_OPS_CONTEXT_H_
#define FUSIONTREE_OPS_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/thread_pool.h"
#include "kernels/table.h"
#include "ops/probe.h"
#include "ops/tape.h"
#include "parallel/communicator.h"
#include "tensor/buffer.h"

namespace fusiontree::ops {

struct Regularisation;
class Recomputation;

// Scratch of one thread: the kernels' part, then the operation's own.
constexpr size_t kOpScratchBytes = size_t{1} << 20;

class Context {
 public:
  // Borrows pool, table and communicator (null: one rank), which outlive the context. Used by one caller at a
  // time.
  Context(base::ThreadPool* pool, const kernels::Table* table,
          parallel::Communicator* communicator = nullptr);

  // Goes on with another pool; not inside an operation.
  void UsePool(base::ThreadPool* pool);

  base::ThreadPool& pool() { return *pool_; }
  const kernels::Table& kernels() const { return *table_; }
  // What an operation needs while it runs, or its caller until the present scope ends.
  tensor::Arena& scratch() { return scratch_arena_; }
  int ranks() const { return communicator_ ? communicator_->size() : 1; }
  parallel::Communicator& communicator() const { return *communicator_; }  // only where ranks() > 1
  Probe* probe() const { return probe_; }
  void set_probe(Probe* probe) { probe_ = probe; }
  // With a tape every operation records its backward; with one rank only.
  Tape* tape() const { return tape_; }
  void set_tape(Tape* tape);
  // Of a training forward, else null (regularise.h).
  const Regularisation* regularisation() const { return regularisation_; }
  void set_regularisation(const Regularisation* regularisation) { regularisation_ = regularisation; }

  // Memory for a result, until the present scope ends; while there is a tape, an array of it.
  float* Take(int64_t floats);
  // Memory for a result of `of`, which nothing but a backward needs any more: `of`, or an array of a tape.
  float* TakeOver(float* of, int64_t floats) { return tape_ == nullptr ? of : Take(floats); }
  // Tape::Drop, where there is a tape. `remake` is the operation that wrote the values, again.
  void Drop(float* value, std::function<void()> remake) {
    if (tape_ != nullptr) tape_->Drop(*this, value, std::move(remake));
  }
  // The same without a gradient: constants, and what an operation keeps for its backward.
  float* TakeConstant(int64_t floats) { return values_.TakeArray<float>(floats); }
  // The same of a result that outlives its scope when a layer is computed again in the backward
  // (recompute.h): the array is the same both times.
  float* TakeLasting(int64_t floats);
  // Whether layers keep only what goes into them for the backward.
  bool recompute() const { return recompute_; }
  void set_recompute(bool recompute) { recompute_ = recompute; }
  // Gives everything back, except what a tape needs.
  void StartForward();

  // What is taken during its life is given back at its end, except what a tape needs.
  class Scope {
   public:
    explicit Scope(Context& context) : scratch_(context.scratch_arena_) {
      if (context.tape_ == nullptr) values_.emplace(context.values_);
    }

   private:
    tensor::Arena::Scope scratch_;
    std::optional<tensor::Arena::Scope> values_;
  };

  void* KernelScratch(int thread) { return scratch_.data() + static_cast<size_t>(thread) * kThreadBytes; }
  void* OpScratch(int thread) {
    return static_cast<std::byte*>(KernelScratch(thread)) + kernels::kScratchBytes;
  }

  // f(thread, range) with [0, n) shared over the threads in multiples of `unit`. Work below `cheap` units is
  // done by the caller alone: a fork costs about 2 us, more than a norm of one row.
  template <typename F>
  void For(int64_t n, int64_t unit, int64_t cheap, F&& f) {
    if (n <= 0) return;
    if (pool_->size() == 1 || n < cheap) {
      base::FloatMode mode;
      f(0, base::Range{0, n});
      return;
    }
    pool_->Run([&](int thread) {
      const base::Range range = base::Share(n, unit, thread, pool_->size());
      if (range.begin < range.end) f(thread, range);
    });
  }

 private:
  friend class Recomputation;
  static constexpr size_t kThreadBytes = kernels::kScratchBytes + kOpScratchBytes;
  base::ThreadPool* pool_ = nullptr;
  const kernels::Table* table_;
  parallel::Communicator* communicator_;
  Probe* probe_ = nullptr;
  Tape* tape_ = nullptr;
  const Regularisation* regularisation_ = nullptr;
  bool recompute_ = false;
  Recomputation* recomputation_ = nullptr;  // of the layer that runs
  tensor::Arena values_, scratch_arena_, lasting_;
  tensor::Buffer scratch_;  // of the threads
};

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_CONTEXT_H_
