// Ranks as threads of one process: the same code that processes run through shared memory, so that a job of
// many ranks is tested in every build and under the sanitizers.
#ifndef FUSIONTREE_PARALLEL_LOCAL_H_
#define FUSIONTREE_PARALLEL_LOCAL_H_

#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"
#include "parallel/mapping.h"
#include "parallel/shared_ranks.h"

namespace fusiontree::parallel {

// Owns the ranks' communicators; outlives the threads that use them.
class LocalGroup {
 public:
  explicit LocalGroup(int size);
  Communicator& rank(int r) { return *ranks_[static_cast<size_t>(r)]; }

 private:
  Mapping memory_;
  std::vector<std::unique_ptr<SharedRanks>> ranks_;
};

// Calls body once a rank, each on a thread of its own (rank 0 on the caller's), and returns when all are
// done. A body that returns an error fails the group, so that the others do not wait for it. Returns the
// group's first error.
base::Status RunRanks(int size, const std::function<base::Status(Communicator&)>& body);

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_LOCAL_H_
