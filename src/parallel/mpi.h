// Ranks as processes started by mpirun. A build without MPI has the same functions (mpi_absent.cc); CMake
// chooses.
//
// Ranks on one machine speak through memory that they share, others by MPI messages (gathers and broadcasts
// of bytes; MPI never adds anything). Waiting ranks sleep, for hours if need be.
//
// How a job ends when something goes wrong:
//
// Fail on one machine: every rank's operations return, status() is the same sentence on all; the rank that
// prints does so before it destroys its communicator. If a rank has not come to that 3 s later (it may be
// inside a long forward), the job is ended, and the sentence is printed if rank 0 had no chance to.
//
// Fail across machines: the failing rank prints "fusiontree: rank 2: ..." and ends the job; nothing returns.
//
// A rank that dies, or has not answered for 5 s (stopped, not merely busy: a thread of its own answers): the
// lowest living rank of its machine prints "fusiontree: rank 2 has not answered for 5 s" and ends the job
// with exit code 1. mpirun knows the rank's guard only (guard.h), which lives on and ends with 1 too.
//
// Not covered: a stopped process that is the only rank of its machine, and a lost network. A death there is
// mpirun's to see.
#ifndef FUSIONTREE_PARALLEL_MPI_H_
#define FUSIONTREE_PARALLEL_MPI_H_

#include <memory>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fusiontree::parallel {

// This process is one of several that mpirun (or a kin of it) started.
bool LaunchedByMpi();
// This process's rank as its launcher says it, before any meeting and in a build without MPI too; -1: it does
// not say.
int LaunchedRank();

struct MpiOptions {
  bool messages = false;  // messages even where memory could be shared
};
// Meets the other ranks; all call it, once a process, with the same options. Destroying the communicator says
// goodbye to them.
base::Result<std::unique_ptr<Communicator>> JoinMpi(const MpiOptions& options = {});

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_MPI_H_
