// The communicator of processes on several machines: gathers and broadcasts of bytes by MPI.
#ifndef FUSIONTREE_PARALLEL_MPI_MESSAGES_H_
#define FUSIONTREE_PARALLEL_MPI_MESSAGES_H_

#include <memory>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/mpi_process.h"
#include "parallel/two_windows.h"

namespace fusiontree::parallel {

class MpiMessages : public Communicator {
 public:
  explicit MpiMessages(std::unique_ptr<MpiProcess> process);
  ~MpiMessages() override;

  int rank() const override { return process_->rank(); }
  int size() const override { return process_->size(); }
  std::string Name() const override { return "MPI"; }
  float* Window(int64_t floats) override;
  const float* const* Exchange(int64_t floats) override;
  void Broadcast(void* data, size_t bytes) override;
  void AllGather(const void* mine, size_t bytes, void* all) override;
  void Barrier() override;
  // Ends the job: there is no way to reach ranks that wait for other things.
  void Fail(base::Status why) override { process_->FailAll(why.message()); }
  base::Status status() const override { return base::OkStatus(); }
  Traffic traffic() const override { return traffic_; }

 private:
  class Operation;

  const std::unique_ptr<MpiProcess> process_;
  TwoWindows windows_, received_;    // of each the first only: a message is sent before Exchange returns
  int64_t window_floats_ = -1;       // -1: Window was not called since the last Exchange
  std::vector<const float*> parts_;  // [size]
  Traffic traffic_;
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_MPI_MESSAGES_H_
