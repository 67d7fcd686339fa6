// What the ranks of one job say to each other. One rank, ranks as threads of one process, and MPI speak
// through the same interface. No operation adds floats: who receives the parts adds them, by the fixed tree
// of R2 (tree.h).
#ifndef FUSIONTREE_PARALLEL_COMMUNICATOR_H_
#define FUSIONTREE_PARALLEL_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace fusiontree::parallel {

// Since the start, of this rank.
struct Traffic {
  int64_t operations = 0;
  int64_t bytes = 0;   // received from other ranks
  double seconds = 0;  // inside the operations, waiting included
};

// Every rank calls the same operations in the same order with the same sizes; one thread of a rank at a time.
// After the first failure of any rank every operation returns at once, on every rank, with unspecified data:
// status() says why, and is asked once a forward. Print a failure before the communicator is destroyed: with
// that the job may end.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string Name() const = 0;  // "one rank", "threads", "MPI in shared memory", "MPI"

  // Where this rank writes its part of the next Exchange: [floats], 64-byte aligned, never null, contents
  // undefined. Called before every Exchange; at most kMostWindowBytes (more fails the job).
  virtual float* Window(int64_t floats) = 0;
  // Every rank's part of `floats` floats, in rank order, `floats` no more than Window was asked for. They may
  // be read until the next Exchange (what Window gives meanwhile is other memory; the other operations leave
  // them be).
  virtual const float* const* Exchange(int64_t floats) = 0;

  // Rank 0's bytes to all. A rank may wait here for hours (for a person at the keyboard): it soon sleeps.
  virtual void Broadcast(void* data, size_t bytes) = 0;
  // all [size, bytes]: every rank's bytes in rank order.
  virtual void AllGather(const void* mine, size_t bytes, void* all) = 0;
  virtual void Barrier() = 0;

  // Ends the work of all ranks with this error; the first one stands. Any thread may call it.
  virtual void Fail(base::Status why) = 0;
  virtual base::Status status() const = 0;

  virtual Traffic traffic() const = 0;
};

constexpr size_t kMostWindowBytes = size_t{1} << 30;

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_COMMUNICATOR_H_
