// How well a model predicts held-out documents.
#ifndef FUSIONTREE_TRAIN_EVALUATE_H_
#define FUSIONTREE_TRAIN_EVALUATE_H_

#include <cstdint>

#include "base/status.h"
#include "data/recall.h"
#include "data/shards.h"
#include "models/model.h"
#include "ops/context.h"
#include "train/gates.h"

namespace fusiontree::train {

struct HeldOut {
  int64_t documents = 0, tokens = 0, bytes = 0;
  std::vector<GateStatistics> gates;  // a gated layer each
  double nats = 0.0;                  // of all tokens; a first token, which nothing precedes, costs log V
  double bits_per_byte() const;
};

// The first documents of the set that together have at most `tokens` (at least one), each from an empty
// state. Of a document longer than the model reaches, each part begins anew.
base::Result<HeldOut> Evaluate(ops::Context& context, const models::Model& model, const data::ShardSet& set,
                               int64_t tokens, const std::vector<TokenClass>& classes = {});

// Of a run whose data is associative recall: answers that are the likeliest of all tokens, over rows that no
// step sees.
struct RecallScore {
  int64_t right = 0, asked = 0;
  double accuracy() const {
    return asked == 0 ? 0.0 : static_cast<double>(right) / static_cast<double>(asked);
  }
};
constexpr int64_t kHeldOutRow = int64_t{1} << 50;  // the first of them: beyond any run

// Rows of `task` that together have at most `tokens` (at least one).
base::Result<RecallScore> EvaluateRecall(ops::Context& context, const models::Model& model,
                                         const data::RecallTask& task, int64_t tokens);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_EVALUATE_H_
