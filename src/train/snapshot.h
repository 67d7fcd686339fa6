// A training checkpoint: a folder that every command takes for a model (config.json, model.safetensors, the
// tokenizer), with what training needs to go on in the same bits:
//   optimizer.safetensors  master.NAME, first.NAME, second.NAME, fp32: the weights and AdamW's moments
//   state.json             step, tokens, the run's config, the numerics policy, what was measured on the
//                          held-out documents at this step, and how long every other file is
// It appears whole or not at all.
#ifndef FUSIONTREE_TRAIN_SNAPSHOT_H_
#define FUSIONTREE_TRAIN_SNAPSHOT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "models/trainable.h"
#include "train/carried.h"
#include "train/optimizer.h"

namespace fusiontree::train {

struct Measured {
  double bits_per_byte = 0.0;
  int64_t bytes = 0;  // of text
};

struct SnapshotState {
  int64_t step = 0, tokens = 0;
  std::string config;       // the run's YAML
  std::string fingerprint;  // of the numerics policy
  std::optional<Measured> held_out;
  std::map<std::string, int64_t> files;  // bytes of each; filled in when it is written
};

// What lies beside the weights.
struct SnapshotFiles {
  std::string config_json;
  std::string tokenizer_folder;  // "": none
  std::optional<Lanes> carried;  // of state passing
};

// All elements [layout.size()] each, in the layout's order.
struct SnapshotValues {
  const float *master, *first, *second;
};

base::Status WriteSnapshot(const std::string& path, const SnapshotState& state, const SnapshotFiles& files,
                           const Layout& layout, const std::vector<models::Parameter>& parameters, bool bf16,
                           const SnapshotValues& values);

base::Result<SnapshotState> ReadSnapshotState(const std::string& path);
// Whether every file is there and as long as it was written.
base::Status CheckSnapshotFiles(const std::string& path, const SnapshotState& state);
// The master weights [layout.size()], and of the moments the elements of `shard`.
base::Status ReadSnapshotValues(const std::string& path, const Layout& layout, base::Range shard,
                                float* master, float* first, float* second);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SNAPSHOT_H_
