// A rank's process is watched by the one that mpirun started, so that its sudden death is told in our words.
#ifndef FUSIONTREE_PARALLEL_GUARD_H_
#define FUSIONTREE_PARALLEL_GUARD_H_

namespace fusiontree::parallel {

// Forks, and returns in the child only, which does the rank's work. The parent waits and ends as the child
// ends: with its exit code or, where a signal ended it (kill -9, the kernel out of memory), with 1, where
// mpirun's own exit code for a killed process would be 137. The neighbours' watchdogs say the sentence; where
// the job is not over 3 s later (a rank alone on its machine, or one that had not met the others yet) the
// parent does. The parent's death ends the child too. Called before any thread is started.
void GuardRank();

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_GUARD_H_
