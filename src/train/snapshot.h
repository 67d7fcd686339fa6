// A training checkpoint: a folder that every command takes for a model (config.json, model.safetensors, the
// tokenizer), with what training needs to go on in the same bits:
//   optimizer.safetensors  master.NAME, first.NAME, second.NAME, fp32: the weights and AdamW's moments
//   state.json             step, tokens, the run's config, the numerics policy
// It appears whole or not at all.
#ifndef FUSIONTREE_TRAIN_SNAPSHOT_H_
#define FUSIONTREE_TRAIN_SNAPSHOT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "models/trainable.h"
#include "train/optimizer.h"

namespace fusiontree::train {

struct SnapshotState {
  int64_t step = 0, tokens = 0;
  std::string config;       // the run's YAML
  std::string fingerprint;  // of the numerics policy
};

// What lies beside the weights.
struct SnapshotFiles {
  std::string config_json;
  std::string tokenizer_folder;  // "": none
};

// All elements [layout.size()] each, in the layout's order.
struct SnapshotValues {
  const float *master, *first, *second;
};

// RUN/checkpoints/step-00000123.
std::string SnapshotPath(const std::string& run, int64_t step);
// The steps of the whole ones, ascending.
std::vector<int64_t> ListSnapshots(const std::string& run);

base::Status WriteSnapshot(const std::string& path, const SnapshotState& state, const SnapshotFiles& files,
                           const Layout& layout, const std::vector<models::Parameter>& parameters, bool bf16,
                           const SnapshotValues& values);

base::Result<SnapshotState> ReadSnapshotState(const std::string& path);
base::Status ReadSnapshotValues(const std::string& path, const Layout& layout, float* master, float* first,
                                float* second);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SNAPSHOT_H_
