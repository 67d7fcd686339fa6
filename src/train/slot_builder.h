// The batch of a slot: its rows as sequences from their first position, and what is drawn for it.
#ifndef FUSIONTREE_TRAIN_SLOT_BUILDER_H_
#define FUSIONTREE_TRAIN_SLOT_BUILDER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "cache/block_pool.h"
#include "cache/sequence.h"
#include "data/packing.h"
#include "models/model.h"
#include "train/carried.h"
#include "train/objective.h"
#include "train/rows.h"
#include "train/run_config.h"

namespace fusiontree::train {

// The slot's batch points to the sequences, whose pages go back to the builder when they end.
struct BuiltSlot {
  Slot slot;
  std::vector<std::unique_ptr<cache::SequenceState>> sequences;  // one of each piece of a document
};

class SlotBuilder {
 public:
  // All three outlive it.
  SlotBuilder(const RunConfig* config, const RowSource* rows, const models::Model* model);

  // `rows` are the step's rows from `first_row`; a step counts from 0.
  base::Result<BuiltSlot> Build(int64_t step, const std::vector<data::Row>& rows, int64_t first_row);
  // After its forward, in a stage with state passing: keeps what the rows have left for the next step.
  void Carry(const BuiltSlot& built, const std::vector<data::Row>& rows, int64_t first_row);

  CarriedStates& carried() { return carried_; }
  int64_t state_bytes() const {
    return static_cast<int64_t>(pages_.layout().PageBytes(pages_.layout().groups.size()));
  }

 private:
  const RunConfig& config_;
  const RowSource& rows_;
  const models::Model& model_;
  cache::BlockPool pages_;
  CarriedStates carried_;
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_SLOT_BUILDER_H_
