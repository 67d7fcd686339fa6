// This process's part in MPI: starts and ends the library, meets the ranks of its machine in shared memory,
// watches them.
#ifndef FUSIONTREE_PARALLEL_MPI_PROCESS_H_
#define FUSIONTREE_PARALLEL_MPI_PROCESS_H_

#include <memory>
#include <string>

#include "base/status.h"
#include "parallel/board.h"
#include "parallel/mapping.h"
#include "parallel/mpi.h"
#include "parallel/watchdog.h"

namespace fusiontree::parallel {

class MpiProcess {
 public:
  static base::Result<std::unique_ptr<MpiProcess>> Join(const MpiOptions& options);
  // Says goodbye: after a clean end MPI is finalised. After a failure the watchdog ends the job if the others
  // do not come to their ends as well.
  ~MpiProcess();

  int rank() const { return rank_; }
  int size() const { return size_; }
  // All ranks share `region`, windows included.
  bool shared() const { return region_.memory != nullptr && region_.window_bytes > 0; }
  bool spin() const { return spin_; }  // there is a processor for every rank of this machine
  const Region& region() const { return region_; }

  // Prints "fusiontree: rank 2: sentence" and ends the whole job with exit code 1.
  [[noreturn]] void FailAll(const std::string& sentence) const;

 private:
  MpiProcess() = default;
  base::Status MeetNeighbours(const MpiOptions& options);

  int rank_ = 0, size_ = 1;
  int seat_ = 0;  // among the ranks of this machine
  bool spin_ = false;
  Mapping memory_;
  Region region_;  // of this machine's ranks; memory is null where it could not be shared
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_MPI_PROCESS_H_
