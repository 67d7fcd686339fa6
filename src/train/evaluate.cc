#include "train/evaluate.h"

#include <algorithm>
#include <memory>
#include <numbers>
#include <vector>

#include "base/math.h"
#include "cache/batch.h"
#include "ops/loss.h"

namespace fusiontree::train {
namespace {

constexpr int64_t kRows = 256;  // of logits, and of a forward, at a time

// Of ids[1..] after those before them.
base::Result<double> Nats(ops::Context& context, const models::Model& model, cache::BlockPool* pages,
                          const std::vector<int32_t>& ids, GateMeter* meter) {
  const std::unique_ptr<cache::SequenceState> sequence = model.NewSequence(pages);
  const int64_t n = static_cast<int64_t>(ids.size()) - 1, stride = model.logits_stride();
  std::vector<float> hidden(static_cast<size_t>(kRows * model.hidden_stride())),
      logits(static_cast<size_t>(kRows * stride));
  std::vector<double> loss(kRows);
  double nats = 0.0;
  for (int64_t first = 0; first < n; first += kRows) {
    const int64_t count = std::min(kRows, n - first);
    cache::Batch batch;
    FT_RETURN_IF_ERROR(batch.Add(sequence.get(), ids.data() + first, count));
    meter->Start(&batch);
    std::vector<uint8_t> ok(static_cast<size_t>(count));
    model.Forward(context, batch, hidden.data(), ok.data());
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < count; ++i) rows.push_back(i);
    model.Head(context, hidden.data(), rows.data(), count, logits.data());
    ops::CrossEntropy(context, {logits.data(), stride, count, model.config().vocab_size},
                      ids.data() + first + 1, 0.0f, loss.data(), logits.data(), ok.data());
    for (int64_t i = 0; i < count; ++i) {
      if (!ok[static_cast<size_t>(i)])
        return base::Failed("a logit of a held-out document is not finite at position {}", first + i);
      nats += loss[static_cast<size_t>(i)];
    }
  }
  return nats;
}

class ProbeScope {
 public:
  ProbeScope(ops::Context& context, ops::Probe* probe) : context_(context), before_(context.probe()) {
    context.set_probe(probe);
  }
  ~ProbeScope() { context_.set_probe(before_); }
  ProbeScope(const ProbeScope&) = delete;
  ProbeScope& operator=(const ProbeScope&) = delete;

 private:
  ops::Context& context_;
  ops::Probe* before_;
};

}  // namespace

double HeldOut::bits_per_byte() const {
  return bytes == 0 ? 0.0 : nats / std::numbers::ln2 / static_cast<double>(bytes);
}

base::Result<HeldOut> Evaluate(ops::Context& context, const models::Model& model, const data::ShardSet& set,
                               int64_t tokens, const std::vector<TokenClass>& classes) {
  HeldOut out;
  GateMeter meter(context, classes);
  const ProbeScope scope(context, &meter);
  cache::BlockPool pages(model.cache_layout(), size_t{1} << 40);
  const int64_t longest = std::min<int64_t>(model.config().max_positions, int64_t{1} << 24);
  const double first_token = base::Log(static_cast<double>(model.config().vocab_size));
  for (int64_t document = 0; document < set.documents(); ++document) {
    const int64_t length = set.Length(document);
    if (out.documents > 0 && out.tokens + length > tokens) break;
    for (int64_t offset = 0; offset < length; offset += longest) {
      const int64_t count = std::min(longest, length - offset);
      std::vector<int32_t> ids(static_cast<size_t>(count));
      std::vector<uint8_t> targets(ids.size());
      FT_RETURN_IF_ERROR(set.Read(document, offset, count, ids.data(), targets.data()));
      FT_ASSIGN_OR_RETURN(const double nats, Nats(context, model, &pages, ids, &meter));
      out.nats += nats + first_token;
    }
    out.documents += 1;
    out.tokens += length;
    out.bytes += set.TextBytes(document);
  }
  out.gates = meter.layers();
  return out;
}

base::Result<RecallScore> EvaluateRecall(ops::Context& context, const models::Model& model,
                                         const data::RecallTask& task, int64_t tokens) {
  RecallScore score;
  cache::BlockPool pages(model.cache_layout(), size_t{1} << 40);
  const int64_t stride = model.logits_stride(), vocabulary = model.config().vocab_size;
  int64_t row = kHeldOutRow;
  for (int64_t done = 0; done == 0 || done < tokens;) {
    cache::Batch batch;
    std::vector<std::unique_ptr<cache::SequenceState>> sequences;
    std::vector<int64_t> places;  // of the answers
    std::vector<int32_t> answers;
    do {
      const data::Row r = task.Generate(row++);
      for (size_t t = 0; t < r.ids.size(); ++t)
        if (r.targets[t] != data::kNoTarget) {
          places.push_back(batch.rows() + static_cast<int64_t>(t));
          answers.push_back(r.targets[t]);
        }
      sequences.push_back(model.NewSequence(&pages));
      FT_RETURN_IF_ERROR(batch.Add(sequences.back().get(), r.ids.data(), static_cast<int64_t>(r.ids.size())));
      done += static_cast<int64_t>(r.ids.size());
    } while (batch.rows() < kRows && done < tokens);
    std::vector<float> hidden(static_cast<size_t>(batch.rows() * model.hidden_stride()));
    std::vector<uint8_t> ok(static_cast<size_t>(batch.rows()));
    model.Forward(context, batch, hidden.data(), ok.data());
    const int64_t count = static_cast<int64_t>(places.size());
    std::vector<float> logits(static_cast<size_t>(count * stride));
    model.Head(context, hidden.data(), places.data(), count, logits.data());
    for (int64_t i = 0; i < count; ++i) {
      const float* of_answer = logits.data() + i * stride;
      score.right +=
          std::max_element(of_answer, of_answer + vocabulary) - of_answer == answers[static_cast<size_t>(i)];
    }
    score.asked += count;
  }
  return score;
}

}  // namespace fusiontree::train
