#include "engine/finite.h"

#include <algorithm>
#include <vector>

#include "ops/finite_probe.h"

namespace fusiontree::engine {
base::Status NameNonFinite(ops::Context& context, const models::Model& model, cache::SequenceState* sequence,
                           const int32_t* ids, int64_t count) {
  constexpr int64_t kChunk = 512;
  ops::FiniteProbe finite(context.kernels());
  int64_t first = 0;  // position of the probed rows' first
  ops::Probe* before = context.probe();
  context.set_probe(&finite);
  sequence->Truncate(0);
  base::Status status;
  for (int64_t at = 0; at < count && finite.where().empty() && status.ok(); at += kChunk) {
    cache::Batch batch;
    status = batch.Add(sequence, ids + at, std::min(kChunk, count - at));
    if (!status.ok()) break;
    first = at;
    std::vector<float> hidden(static_cast<size_t>(batch.rows() * model.hidden_stride()));
    std::vector<uint8_t> row_ok(static_cast<size_t>(batch.rows()));
    model.Forward(context, batch, hidden.data(), row_ok.data());
    std::vector<float> logits(static_cast<size_t>(model.logits_stride()));
    for (int64_t row = 0; row < batch.rows() && finite.where().empty(); ++row) {
      first = at + row;
      model.Head(context, hidden.data(), &row, 1, logits.data());
    }
    status = model.status();
  }
  context.set_probe(before);
  // A sum of squares can overflow where every element is finite: that is the norm's own failure.
  if (finite.where().empty())
    return base::Failed("the model made a non-finite value: a norm's sum of squares");
  return base::Failed("the model made a non-finite value: {}, position {}", finite.where(),
                      first + finite.row());
}

}  // namespace fusiontree::engine
