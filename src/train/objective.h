// What a training step minimises, and its gradient for one slot (R10 of docs/numerics.md):
// total = lm + λ_b balance + λ_e entropy + λ_p polarise + λ_d distill, each term computed here and nowhere
// else.
#ifndef FUSIONTREE_TRAIN_OBJECTIVE_H_
#define FUSIONTREE_TRAIN_OBJECTIVE_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "cache/batch.h"
#include "models/model.h"
#include "ops/context.h"
#include "ops/regularise.h"
#include "ops/tape.h"
#include "train/gates.h"

namespace fusiontree::train {

constexpr int64_t kLossRows = 256;  // rows of logits held at a time; part of the numerics policy

struct LossWeights {
  double balance = 0.0, entropy = 0.0, polarise = 0.0, distill = 0.0;
  double gate_target = 0.5, gate_margin = 0.1;
  bool per_channel = false;  // balance of each channel's mean
  double temperature = 2.0;  // of distillation
  bool monitor = false;      // measures the entropy even where its factor is 0, and gate statistics
};

struct Losses {
  double lm = 0.0, balance = 0.0, entropy = 0.0, polarise = 0.0, distill = 0.0;
  double total = 0.0;
  int64_t targets = 0;  // of this slot
};

// One ragged batch; each piece of a document is a span.
struct Slot {
  cache::Batch batch;
  std::vector<int32_t> targets;        // [T]: the token that follows, or -1: not counted
  ops::Regularisation regularisation;  // of its rows; without rows: none
};

// What the step that the slot is a part of has in all, known from its data.
struct StepTotals {
  int64_t targets = 0;
  int64_t tokens = 0;
};

// With a teacher: its hidden rows of the same tokens.
struct Teacher {
  const models::Model* model = nullptr;
  const float* hidden = nullptr;
};

// Runs slots of one model, and keeps their memory from one to the next.
class Objective {
 public:
  // Both outlive it. The model was loaded to be trained. `classes`: of the vocabulary, for the statistics of
  // gates.
  Objective(ops::Context* context, models::Model* model, std::vector<TokenClass> classes = {});

  // Runs the slot forward and back and adds to the model's gradients. The terms are the slot's part of the
  // step's: lm and distill divided by the step's targets, the gates' by the slot's share of its tokens;
  // summed over the slots they are the step's. A value that is not finite is an error that names where.
  base::Result<Losses> Run(const Slot& slot, const StepTotals& step, const LossWeights& weights,
                           const Teacher& teacher = {});

  // Of the last slot, a gated layer each; only with LossWeights::monitor.
  const std::vector<GateStatistics>& gates() const { return gates_; }
  ops::Tape& tape() { return tape_; }

 private:
  base::Status RunHead(const Slot& slot, const StepTotals& step, const LossWeights& weights,
                       const Teacher& teacher, Losses* losses);

  ops::Context& context_;
  models::Model& model_;
  const std::vector<TokenClass> classes_;
  ops::Tape tape_;
  std::vector<GateStatistics> gates_;
  std::vector<float> hidden_, logits_, dlogits_, taught_;
};

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_OBJECTIVE_H_
