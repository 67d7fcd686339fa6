// In place of mpi_world.cc in a build without MPI.
#include "parallel/mpi.h"

namespace fusiontree::parallel {

base::Result<std::unique_ptr<Communicator>> JoinMpi(const MpiOptions&) {
  return base::BadInput(
      "this program was built without MPI, so it cannot run under mpirun; start it without, or build it "
      "where "
      "Open MPI is installed (package libopenmpi-dev)");
}

}  // namespace fusiontree::parallel
