#include "engine/finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace fusiontree::engine {
namespace {

class FiniteProbe : public ops::Probe {
 public:
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override {
    if (!first_.empty()) return;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        if (!std::isfinite(value[r * stride + c])) {
          first_ = layer < 0 ? fmt::format("{}, position {}", op, position_ + r)
                             : fmt::format("layer {}, {}, position {}", layer, op, position_ + r);
          return;
        }
  }
  const std::string& first() const { return first_; }
  void set_first_position(int64_t position) { position_ = position; }  // of row 0

 private:
  int64_t position_ = 0;
  std::string first_;
};

}  // namespace

base::Status NameNonFinite(ops::Context& context, const models::Model& model, cache::SequenceState* sequence,
                           const int32_t* ids, int64_t count) {
  constexpr int64_t kChunk = 512;
  FiniteProbe finite;
  ops::Probe* before = context.probe();
  context.set_probe(&finite);
  sequence->Truncate(0);
  base::Status status;
  for (int64_t at = 0; at < count && finite.first().empty() && status.ok(); at += kChunk) {
    cache::Batch batch;
    status = batch.Add(sequence, ids + at, std::min(kChunk, count - at));
    if (!status.ok()) break;
    finite.set_first_position(at);
    std::vector<float> hidden(static_cast<size_t>(batch.rows() * model.hidden_stride()));
    std::vector<uint8_t> row_ok(static_cast<size_t>(batch.rows()));
    model.Forward(context, batch, hidden.data(), row_ok.data());
    std::vector<float> logits(static_cast<size_t>(model.logits_stride()));
    for (int64_t row = 0; row < batch.rows() && finite.first().empty(); ++row) {
      finite.set_first_position(at + row);
      model.Head(context, hidden.data(), &row, 1, logits.data());
    }
    status = model.status();
  }
  context.set_probe(before);
  // A sum of squares can overflow where every element is finite: that is the norm's own failure.
  return base::Failed("the model made a non-finite value: {}",
                      finite.first().empty() ? "a norm's sum of squares" : finite.first());
}

}  // namespace fusiontree::engine
