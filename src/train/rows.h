// The rows of a run: row r of step s, whatever they come from, as a function of the config alone.
#ifndef FUSIONTREE_TRAIN_ROWS_H_
#define FUSIONTREE_TRAIN_ROWS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "data/packing.h"
#include "data/shards.h"
#include "train/run_config.h"

namespace fusiontree::train {

// Where a step stands in the run.
struct StepPlace {
  const Stage* stage = nullptr;
  int64_t in_stage = 0;       // step of the stage
  int64_t first_row = 0;      // of the step, among all rows of the run (of a task)
  int64_t tokens_before = 0;  // seen before the step
  int64_t stage_first = 0;    // tokens before the stage
};

class RowSource {
 public:
  // Opens the data of the config, which outlives this.
  static base::Result<std::unique_ptr<RowSource>> Open(const RunConfig& config);

  StepPlace PlaceOf(int64_t step) const;
  base::Result<data::Row> Get(const StepPlace& place, int64_t row) const;
  // Of all data sets, in their order; empty for a task.
  const std::vector<std::unique_ptr<data::ShardFolder>>& folders() const { return folders_; }
  // The largest id + 1; 0 unless it is known.
  int64_t vocab_size() const;

 private:
  explicit RowSource(const RunConfig& config) : config_(config) {}
  const RunConfig& config_;
  std::vector<std::unique_ptr<data::ShardFolder>> folders_;
  std::unique_ptr<data::DocumentStream> stream_;
  std::unique_ptr<data::RecallTask> task_;
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_ROWS_H_
