// The communicator of a job of one rank: nothing travels.
#ifndef FUSIONTREE_PARALLEL_ONE_RANK_H_
#define FUSIONTREE_PARALLEL_ONE_RANK_H_

#include <mutex>

#include "parallel/communicator.h"
#include "parallel/two_windows.h"

namespace fusiontree::parallel {

class OneRank : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string Name() const override { return "one rank"; }
  float* Window(int64_t floats) override;
  const float* const* Exchange(int64_t floats) override;
  void Broadcast(void* data, size_t bytes) override;
  void AllGather(const void* mine, size_t bytes, void* all) override;
  void Barrier() override;
  void Fail(base::Status why) override;
  base::Status status() const override;
  Traffic traffic() const override { return traffic_; }

 private:
  TwoWindows windows_;
  int64_t exchanges_ = 0;
  int64_t window_floats_ = -1;  // -1: Window was not called since the last Exchange
  const float* part_ = nullptr;
  Traffic traffic_;
  mutable std::mutex mutex_;  // of status_
  base::Status status_;
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_ONE_RANK_H_
