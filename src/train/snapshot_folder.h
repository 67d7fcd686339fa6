// The checkpoints of a run: which there are, which is the best, and which go.
//   RUN/checkpoints/step-00000123           one that is whole
//   RUN/checkpoints/step-00000123.partial   one being written (data/output_folder.h)
//   RUN/checkpoints/step-00000123.removed   one being taken away
//   RUN/checkpoints/best                    a link to the best one
#ifndef FUSIONTREE_TRAIN_SNAPSHOT_FOLDER_H_
#define FUSIONTREE_TRAIN_SNAPSHOT_FOLDER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::train {

std::string SnapshotPath(const std::string& run, int64_t step);
// The steps of the whole ones, ascending.
std::vector<int64_t> ListSnapshots(const std::string& run);

// Takes away what a killed run left half written or half removed. Only while no other run writes here.
base::Status ClearSnapshotLeftovers(const std::string& run);

struct BestSnapshot {
  int64_t step = 0;
  double bits_per_byte = 0.0;
};
// The one with the fewest bits a byte on the held-out documents, the first of equals; of those that were
// measured on as much text as the last one measured. None: no checkpoint's step was evaluated.
std::optional<BestSnapshot> FindBestSnapshot(const std::string& run);

// Lets the link point to the best one and takes away all others but the last `keep`. Where the file system
// has no links there is none; what a checkpoint measured stands in its state.json.
void KeepSnapshots(const std::string& run, int64_t keep);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SNAPSHOT_FOLDER_H_
