// A training run: steps of slots, summed over slots and ranks, AdamW, evaluation, checkpoints. The curve and
// the weights are one bit pattern for a config, a seed and a variant, whatever the threads, the ranks and
// the restarts.
#ifndef FUSIONTREE_TRAIN_TRAINER_H_
#define FUSIONTREE_TRAIN_TRAINER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"
#include "train/evaluate.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/rows.h"
#include "train/run_config.h"
#include "train/slot_builder.h"
#include "train/slot_sum.h"
#include "train/snapshot.h"
#include "train/snapshot_writer.h"

namespace fusiontree::train {

struct StepReport {
  int64_t step = 0;    // that was done, from 1
  int64_t tokens = 0;  // seen in all
  Losses losses;       // of the step
  double gradient_norm = 0.0;
  double learning_rate = 0.0;
  std::vector<GateStatistics> gates;  // of a step that is logged, a gated layer each
};

// Under several ranks each runs its slots; all have the same weights, and each a part of AdamW's moments.
// Every rank calls the same functions in the same order.
class Trainer {
 public:
  // A new run, or with `resume` one that goes on from the last checkpoint of `run`. Pool, table and
  // communicator (null: one rank) outlive it.
  struct Options {
    std::string run;  // the run's folder
    bool resume = false;
    bool allow_changes = false;  // of the config, when it is resumed
  };
  static base::Result<std::unique_ptr<Trainer>> Create(const std::string& config_text,
                                                       const std::string& name, const Options& options,
                                                       base::ThreadPool* pool, const kernels::Table* table,
                                                       parallel::Communicator* communicator = nullptr);

  const RunConfig& config() const { return config_; }
  const models::Model& model() const { return *model_; }
  const Layout& layout() const { return *layout_; }
  int64_t step() const { return step_; }  // steps done
  int64_t tokens() const;                 // seen by them
  int64_t steps() const { return config_.steps(); }
  bool done() const { return step_ == steps(); }
  // Model FLOPs of the forward and backward of the next step: three forwards.
  double StepFlops() const;

  base::Result<StepReport> Step();
  // Of the held-out documents of all data sets; without any: no documents.
  base::Result<HeldOut> EvaluateHeldOut();
  // Begins to write a checkpoint of this step, which goes on while the next steps run (rank 0), and then
  // takes away all but the last ones and the best; returns its path. Waits for the one before. Of a
  // checkpoint that cannot be written the next call of Step, Save or AwaitSave tells.
  base::Result<std::string> Save();
  // Returns once nothing is being written.
  base::Status AwaitSave();
  const std::vector<float>& master() const { return master_; }

 private:
  Trainer(base::ThreadPool* pool, const kernels::Table* table, parallel::Communicator* communicator)
      : context_(pool, table), communicator_(communicator) {}
  base::Status Start(const std::string& config_text, const std::string& name, const Options& options);
  base::Status LoadModel(const std::string& folder);
  base::Status ReadMaster(const checkpoint::Checkpoint& checkpoint);
  base::Status Refresh();
  base::Status LoadTeacher();
  // What the teacher makes of a slot; without one: nothing.
  base::Result<Teacher> Teach(const std::vector<data::Row>& rows, int64_t first_row);
  // The stage whose next step goes on from the states of the last one, or null.
  const Stage* PassingStage() const;
  // From this rank's to those of the whole step: gradient [layout.size()], each slot's losses and gates.
  base::Status SumOverRanks(float* gradient, std::vector<Losses>* losses, std::vector<GateStatistics>* gates);
  base::Status NameNonFinite(const std::vector<data::Row>& rows, int64_t first_row);
  base::Status Update(const float* gradient, float scale, double rate);
  int ranks() const { return communicator_ ? communicator_->size() : 1; }
  int rank() const { return communicator_ ? communicator_->rank() : 0; }
  // The elements whose moments this rank keeps, in whole blocks.
  base::Range ShardOf(int rank) const;
  // From `own` [this rank's shard] of every rank to `whole` [layout.size()], where that is not null.
  base::Status GatherShards(const float* own, float* whole);
  // An error of this rank ends the work of all; one of another rank is seen here sooner or later.
  base::Status Agree(const base::Status& mine);

  RunConfig config_;
  std::string config_text_, run_, config_json_, tokenizer_folder_, fingerprint_;
  ops::Context context_;
  parallel::Communicator* communicator_;
  std::unique_ptr<RowSource> rows_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<SlotBuilder> slot_builder_;
  std::unique_ptr<models::Model> teacher_;  // or null
  std::unique_ptr<SlotBuilder> teacher_slots_;
  std::vector<float> taught_;        // the teacher's hidden rows
  std::vector<TokenClass> classes_;  // of the vocabulary; empty without a tokenizer
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Layout> layout_;
  std::unique_ptr<SlotSum> slot_sum_;
  std::vector<float> master_;          // [layout.size()]
  std::vector<float> first_, second_;  // moments, of the shard alone
  int64_t step_ = 0, saved_step_ = -1, measured_step_ = -1;
  std::optional<Measured> measured_;        // at measured_step_
  std::unique_ptr<SnapshotWriter> writer_;  // of rank 0, from the first save on; reads layout_ and model_
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_TRAINER_H_
