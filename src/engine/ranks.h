// What the ranks of a job agree on before work, and the loop of every rank but 0. Rank 0 alone reads the
// command line, prints and samples; the others load their shard when it loads a model, and follow its
// forwards.
#ifndef FUSIONTREE_ENGINE_RANKS_H_
#define FUSIONTREE_ENGINE_RANKS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "engine/setup.h"
#include "parallel/communicator.h"

namespace fusiontree::engine {

// Every rank, first of all: the same build, numerics and command line, or an error that names what differs
// and the rank.
base::Status AgreeOnProgram(parallel::Communicator& communicator, const std::vector<std::string>& arguments);

// What a command has all ranks do at once beside running a model, by name; the number is rank 0's to choose.
using RankTasks = std::map<std::string, std::function<base::Status(parallel::Communicator&, int64_t)>>;
// Rank 0, also while a model is loaded: the others run the task of this name, then this rank does.
base::Status RunOnAllRanks(parallel::Communicator& communicator, const RankTasks& tasks,
                           const std::string& name, int64_t argument);

// Every rank but 0: does what rank 0 asks for until it calls EndRanks. An error that all ranks share, a model
// that cannot be loaded, is rank 0's to tell, and the loop goes on.
base::Status Follow(parallel::Communicator& communicator, const RankTasks& tasks = {});
// Rank 0, last of all.
void EndRanks(parallel::Communicator& communicator);

// Rank 0: has the others load too, then as LoadShard. MakeRuntime comes here when its communicator has
// several ranks.
base::Result<std::unique_ptr<Runtime>> LoadOnAllRanks(const std::string& model_path,
                                                      const EngineOptions& options);
// Threads of a rank where nobody says how many: ranks that may run on the same processors share them. Every
// rank calls it.
int SharedThreads(parallel::Communicator& communicator);

// Rank 0, while a model is loaded: the other ranks go on with so many threads, not pinned.
void UseThreadsOnAllRanks(parallel::Communicator& communicator, int threads);

// Every rank, with the same arguments but for what concerns its own machine: loads its shard. The variant is
// the best that all have unless one is asked for. On rank 0 the model runs on all ranks, and on the others
// follows.
base::Result<std::unique_ptr<Runtime>> LoadShard(const std::string& model_path, const EngineOptions& options);

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_RANKS_H_
