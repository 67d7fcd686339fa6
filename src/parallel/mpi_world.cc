#include <utility>

#include "parallel/mpi.h"
#include "parallel/mpi_messages.h"
#include "parallel/mpi_process.h"
#include "parallel/shared_ranks.h"

namespace fusiontree::parallel {
namespace {

// Held by a base class, so that the memory outlives the ranks that speak through it.
struct HoldsProcess {
  std::unique_ptr<MpiProcess> process;
};

class MpiShared : private HoldsProcess, public SharedRanks {
 public:
  explicit MpiShared(std::unique_ptr<MpiProcess> held)
      : HoldsProcess{std::move(held)},
        SharedRanks(process->region(), process->rank(), process->spin(), "MPI in shared memory") {}
  // Who is done first waits asleep for the others, which MPI_Finalize would not.
  ~MpiShared() override { Arrive(Operation::kEnd, 0); }
};

}  // namespace

base::Result<std::unique_ptr<Communicator>> JoinMpi(const MpiOptions& options) {
  FT_ASSIGN_OR_RETURN(std::unique_ptr<MpiProcess> process, MpiProcess::Join(options));
  if (process->shared())
    return std::unique_ptr<Communicator>(std::make_unique<MpiShared>(std::move(process)));
  return std::unique_ptr<Communicator>(std::make_unique<MpiMessages>(std::move(process)));
}

}  // namespace fusiontree::parallel
