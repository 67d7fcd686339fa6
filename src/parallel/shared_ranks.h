// The communicator of ranks that share memory: threads of one process, or processes of one machine.
#ifndef FUSIONTREE_PARALLEL_SHARED_RANKS_H_
#define FUSIONTREE_PARALLEL_SHARED_RANKS_H_

#include <vector>

#include "parallel/board.h"
#include "parallel/communicator.h"
#include "parallel/two_windows.h"

namespace fusiontree::parallel {

// An exchange is one barrier: a rank writes its part into its window, arrives, and reads everybody's where
// they lie.
//
// Why one is enough with two windows a rank: window k % 2 is written again for exchange k + 2, and a rank
// only begins that after exchange k + 1, where all have arrived, and who has arrived there no longer reads
// exchange k. After a failure the barrier holds nobody back, so from then on a rank writes and reads memory
// of its own.
class SharedRanks : public Communicator {
 public:
  // `region` outlives this. `spin`: there is a processor for every rank.
  SharedRanks(const Region& region, int rank, bool spin, std::string name);

  int rank() const override { return rank_; }
  int size() const override { return region_.size; }
  std::string Name() const override { return name_; }
  float* Window(int64_t floats) override;
  const float* const* Exchange(int64_t floats) override;
  void Broadcast(void* data, size_t bytes) override;
  void AllGather(const void* mine, size_t bytes, void* all) override;
  void Barrier() override;
  void Fail(base::Status why) override { region_.board().Fail(why); }
  base::Status status() const override { return region_.board().status(); }
  Traffic traffic() const override { return traffic_; }

 protected:
  enum class Operation : uint64_t { kExchange = 1, kBroadcast, kAllGather, kBarrier, kEnd };
  bool Arrive(Operation operation, uint64_t amount);

 private:
  const Region region_;
  const int rank_;
  const bool spin_;
  const std::string name_;
  int64_t exchanges_ = 0, controls_ = 0;  // so far: which window is next
  float* window_ = nullptr;               // of the next exchange, once asked for
  int64_t window_floats_ = 0;
  std::vector<const float*> parts_;  // [size]
  TwoWindows own_;                   // after a failure
  Traffic traffic_;
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_SHARED_RANKS_H_
