#include <cstdlib>

#include "parallel/mpi.h"

namespace fusiontree::parallel {

bool LaunchedByMpi() {
  // Open MPI; MPICH, Intel MPI and srun; MVAPICH.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && std::strtol(value, nullptr, 10) > 1) return true;
  }
  return false;
}

int LaunchedRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) return static_cast<int>(std::strtol(value, nullptr, 10));
  }
  return -1;
}

}  // namespace fusiontree::parallel
