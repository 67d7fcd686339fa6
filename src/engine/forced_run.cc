#include "engine/forced_run.h"

#include <algorithm>
#include <memory>

#include "engine/finite.h"

namespace fusiontree::engine {
namespace {

// Logits of this many rows are held at once: 64 rows of a vocabulary of 152k take 39 MB.
constexpr int64_t kHeadRows = 64;

struct Running {
  int64_t index;
  std::unique_ptr<cache::SequenceState> state;
};

base::Status OneForward(ops::Context& context, const models::Model& model,
                        const std::vector<std::vector<int32_t>>& sequences,
                        const std::vector<Running>& running, const cache::Batch& batch,
                        const LogitsSink& sink) {
  std::vector<float> hidden(static_cast<size_t>(batch.rows() * model.hidden_stride()));
  std::vector<uint8_t> row_ok(static_cast<size_t>(batch.rows()));
  model.Forward(context, batch, hidden.data(), row_ok.data());
  FT_RETURN_IF_ERROR(model.status());
  const auto name = [&](size_t span) {
    const Running& r = running[span];
    return NameNonFinite(context, model, r.state.get(), sequences[static_cast<size_t>(r.index)].data(),
                         r.state->length());
  };
  for (size_t i = 0; i < batch.spans.size(); ++i) {
    const auto first = row_ok.begin() + batch.spans[i].first_row;
    if (std::count(first, first + batch.spans[i].count, 0) > 0) return name(i);
  }
  std::vector<float> logits(static_cast<size_t>(std::min(kHeadRows, batch.rows()) * model.logits_stride()));
  size_t span = 0;
  for (int64_t first = 0; first < batch.rows(); first += kHeadRows) {
    const int64_t count = std::min(kHeadRows, batch.rows() - first);
    std::vector<int64_t> rows(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = first + i;
    model.Head(context, hidden.data(), rows.data(), count, logits.data());
    FT_RETURN_IF_ERROR(model.status());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = first + i;
      while (row >= batch.spans[span].first_row + batch.spans[span].count) ++span;
      const float* line = logits.data() + i * model.logits_stride();
      if (!context.kernels().all_finite(line, model.config().vocab_size)) return name(span);
      FT_RETURN_IF_ERROR(sink(running[span].index,
                              batch.spans[span].first_position + row - batch.spans[span].first_row, line));
    }
  }
  return base::OkStatus();
}

}  // namespace

base::Status ForcedRun(ops::Context& context, const models::Model& model,
                       const std::vector<std::vector<int32_t>>& sequences, const ForcedOptions& options,
                       const LogitsSink& sink) {
  size_t cache_bytes = options.cache_bytes;
  if (cache_bytes == 0)
    for (const std::vector<int32_t>& ids : sequences)
      cache_bytes += model.cache_layout().SequenceBytes(static_cast<int64_t>(ids.size()), options.chunk);
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].empty())
      return base::BadInput("sequence {} is empty: at least one token id is needed", s);
    if (static_cast<int64_t>(sequences[s].size()) > model.config().max_positions)
      return base::BadInput("sequence {} has {} tokens, but the model's context is {}", s,
                            sequences[s].size(), model.config().max_positions);
    for (int32_t id : sequences[s])
      if (id < 0 || id >= model.config().vocab_size)
        return base::BadInput("token id {} of sequence {} is outside the vocabulary of {}", id, s,
                              model.config().vocab_size);
  }
  cache::BlockPool pool(model.cache_layout(), cache_bytes);
  std::vector<int64_t> order(sequences.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<int64_t>(options.reverse ? order.size() - 1 - i : i);
  const size_t width = options.together ? order.size() : 1;
  for (size_t first = 0; first < order.size(); first += width) {
    std::vector<Running> running;
    for (size_t i = first; i < std::min(first + width, order.size()); ++i)
      running.push_back({order[i], model.NewSequence(&pool)});
    while (!running.empty()) {
      cache::Batch batch;
      for (Running& r : running) {
        const std::vector<int32_t>& ids = sequences[static_cast<size_t>(r.index)];
        const int64_t done = r.state->length();
        const int64_t count = std::min(options.chunk, static_cast<int64_t>(ids.size()) - done);
        FT_RETURN_IF_ERROR(batch.Add(r.state.get(), ids.data() + done, count));
      }
      FT_RETURN_IF_ERROR(OneForward(context, model, sequences, running, batch, sink));
      std::erase_if(running, [&](const Running& r) {
        return r.state->length() == static_cast<int64_t>(sequences[static_cast<size_t>(r.index)].size());
      });
    }
  }
  return base::OkStatus();
}

}  // namespace fusiontree::engine
