// train --dry-run.
#ifndef FUSIONTREE_CLI_TRAIN_ESTIMATE_H_
#define FUSIONTREE_CLI_TRAIN_ESTIMATE_H_

#include <string>

#include "base/status.h"
#include "base/thread_pool.h"
#include "kernels/table.h"
#include "parallel/communicator.h"

namespace fusiontree::cli {

// Prints what the run would cost; every rank calls it.
base::Status DryRun(const std::string& config_text, const std::string& name, bool as_json,
                    base::ThreadPool* pool, const kernels::Table* table, parallel::Communicator* ranks);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_TRAIN_ESTIMATE_H_
