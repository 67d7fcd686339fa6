// What a run is: the YAML file of `fusiontree train` (docs/training.md has every key).
#ifndef FUSIONTREE_TRAIN_RUN_CONFIG_H_
#define FUSIONTREE_TRAIN_RUN_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "data/recall.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace fusiontree::train {

struct DataSource {
  std::string path;  // a folder of token shards
  double weight = 1.0;
};

// A part of the run, in tokens: rows of `length`, `batch` tokens a step.
struct Stage {
  int64_t tokens = 0, length = 0, batch = 0;
  double learning_rate_factor = 1.0;
  std::vector<int64_t> windows;  // of which each step draws its window_size; empty: the model's
  bool state_passing = false;    // row r of a step goes on with the document of row r of the step before

  int64_t rows() const { return batch / length; }
  int64_t steps() const { return (tokens + batch - 1) / batch; }
};

struct RunConfig {
  std::string model;  // a config.json: fresh weights, or a checkpoint: its own
  uint64_t seed = 0;
  bool bf16 = false;       // products
  int64_t slots = 1;       // of a step (R10)
  bool recompute = false;  // layers in the backward: less memory, the same bits
  std::string teacher;     // a checkpoint to distil from; "": none
  std::vector<DataSource> data;
  std::vector<data::RecallOptions> recall;  // one or none, instead of data
  std::vector<Stage> stages;
  AdamW optimizer;
  std::vector<ParameterGroup> groups;
  LearningRate rate;
  LossWeights losses;  // without factors, which follow schedules
  Schedule balance, entropy, polarise, distill;
  int64_t checkpoint_every = 0, keep = 3;  // steps; 0: only at the end
  int64_t evaluate_every = 0, evaluate_tokens = 65536;
  int64_t log_every = 10;

  int64_t steps() const;
  int64_t tokens() const;  // of all steps
};

base::Result<RunConfig> ReadRunConfig(std::string_view text, const std::string& name);

// The keys in which two run files differ, as "optimizer.clip: 1.0 -> 0.5"; comments and order do not count,
// nor what changes no bit of the result (how often to log, evaluate and save).
base::Result<std::vector<std::string>> ConfigDifferences(std::string_view before, std::string_view after);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_RUN_CONFIG_H_
