// How well a model predicts held-out documents.
#ifndef FUSIONTREE_TRAIN_EVALUATE_H_
#define FUSIONTREE_TRAIN_EVALUATE_H_

#include <cstdint>

#include "base/status.h"
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

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_EVALUATE_H_
