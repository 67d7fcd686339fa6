// What this machine can do at most, measured: the denominators of every speed claim.
#ifndef FUSIONTREE_BENCH_LIMITS_H_
#define FUSIONTREE_BENCH_LIMITS_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "parallel/communicator.h"

namespace fusiontree::bench {

struct Peak {
  std::string name;  // "fp32 avx2", "bf16 amx"
  std::string isa;   // the variant of the kernels that lives by it
  bool bf16 = false;
  double flops = 0;     // per second, all threads of the pool
  std::string missing;  // why it was not measured; empty when it was
};

struct Limits {
  std::string processor;
  int threads = 0;
  double bandwidth = 0;  // bytes per second read from memory
  std::vector<Peak> peaks;

  // The peak that bounds products on kernel table `isa` with the given type; 0 when none was measured.
  double FlopsFor(const std::string& isa, bool bf16) const;
  // The better of both in each: a limit is the most that was ever seen.
  void Raise(const Limits& other);
};

// Bandwidth over `buffer_bytes` of memory (1 GB where nothing else is said), each peak for a fraction of a
// second; the best of several tries, because other work on the machine only ever takes away.
base::Result<Limits> MeasureLimits(base::ThreadPool& pool, size_t buffer_bytes);
// The sum over ranks, each of which calls this with a pool of its own; all measure the same thing at the same
// time.
base::Result<Limits> MeasureLimitsOnRanks(parallel::Communicator& communicator, base::ThreadPool& pool,
                                          size_t buffer_bytes);

}  // namespace fusiontree::bench

#endif  // FUSIONTREE_BENCH_LIMITS_H_
