#include "train/objective.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "models/trainable.h"
#include "ops/loss.h"

namespace fusiontree::train {
namespace {

// Of arrays that are dropped. The page faults of smaller ones cost a seventh of a slot's time, of these a
// thirtieth.
constexpr size_t kDropFrom = size_t{4} << 20;

// Where the gates of each layer lie while the tape holds them, and what they are.
class GateProbe : public ops::Probe {
 public:
  explicit GateProbe(GateMeter* meter) : meter_(meter) {}
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override {
    if (op == "gate") gates_.push_back({layer, {value, stride, rows, columns, {}}});
    if (meter_ != nullptr) meter_->Observe(layer, op, value, rows, columns, stride);
  }
  // Those of documents that ran with both branches; a layer without any is not there.
  std::vector<ops::Gates> Counted(const ops::Context& context) const {
    std::vector<ops::Gates> counted;
    for (const auto& [layer, gates] : gates_) {
      ops::Gates of_layer = gates;
      for (const ops::Kept kept : ops::KeptBranches(context, layer))
        of_layer.counted.push_back(kept == ops::Kept::kBoth);
      if (of_layer.Count() > 0) counted.push_back(std::move(of_layer));
    }
    return counted;
  }

 private:
  GateMeter* meter_;
  std::vector<std::pair<int, ops::Gates>> gates_;
};

// The context's tape and probe during a slot.
class Recording {
 public:
  Recording(ops::Context& context, ops::Tape* tape, ops::Probe* probe)
      : context_(context), probe_(context.probe()) {
    context.set_tape(tape);
    context.set_probe(probe);
  }
  ~Recording() {
    context_.tape()->Clear();
    context_.set_tape(nullptr);
    context_.set_regularisation(nullptr);
    context_.set_probe(probe_);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  ops::Context& context_;
  ops::Probe* probe_;
};

base::Status RequireFinite(const std::vector<uint8_t>& ok, const char* where) {
  for (size_t t = 0; t < ok.size(); ++t)
    if (!ok[t]) return base::Failed("{} of row {} of the slot is not finite", where, t);
  return base::OkStatus();
}

void RunGates(ops::Context& context, const std::vector<ops::Gates>& gates, double share,
              const LossWeights& weights, Losses* losses) {
  if (gates.empty()) return;
  const double part = share / static_cast<double>(gates.size());
  const ops::GateWeights of_layer{.low = weights.gate_target - weights.gate_margin,
                                  .high = weights.gate_target + weights.gate_margin,
                                  .per_channel = weights.per_channel,
                                  .measure_entropy = weights.monitor,
                                  .balance = weights.balance * part,
                                  .entropy = weights.entropy * part,
                                  .polarise = weights.polarise * part};
  const bool any = weights.balance != 0.0 || weights.entropy != 0.0 || weights.polarise != 0.0;
  for (const ops::Gates& layer : gates) {
    const ops::GateTerms terms =
        ops::GateLosses(context, layer, of_layer, any ? context.tape()->Gradient(layer.values) : nullptr);
    losses->balance += terms.balance * part;
    losses->entropy += terms.entropy * part;
    losses->polarise += terms.polarise * part;
  }
}

}  // namespace

Objective::Objective(ops::Context* context, models::Model* model, std::vector<TokenClass> classes)
    : context_(*context), model_(*model), classes_(std::move(classes)) {
  FT_CHECK(model->trainable() != nullptr);
  tape_.set_drop_from(kDropFrom);
}

base::Status Objective::RunHead(const Slot& slot, const StepTotals& step, const LossWeights& weights,
                                const Teacher& teacher, Losses* losses) {
  std::vector<int64_t> rows;
  for (size_t t = 0; t < slot.targets.size(); ++t)
    if (slot.targets[t] >= 0) rows.push_back(static_cast<int64_t>(t));
  losses->targets = static_cast<int64_t>(rows.size());
  const int64_t stride = model_.logits_stride(), vocabulary = model_.config().vocab_size;
  const size_t most = std::min<size_t>(kLossRows, rows.size());
  logits_.resize(std::max(logits_.size(), most * static_cast<size_t>(stride)));
  dlogits_.resize(logits_.size());
  std::vector<double> loss(most);
  const double divisor = static_cast<double>(step.targets);
  for (size_t first = 0; first < rows.size(); first += most) {
    const int64_t count = static_cast<int64_t>(std::min(most, rows.size() - first));
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < count; ++i)
      targets.push_back(slot.targets[static_cast<size_t>(rows[first + static_cast<size_t>(i)])]);
    std::vector<uint8_t> ok(static_cast<size_t>(count), 1);
    model_.Head(context_, hidden_.data(), rows.data() + first, count, logits_.data());
    const ops::Logits student{logits_.data(), stride, count, vocabulary};
    ops::CrossEntropy(context_, student, targets.data(), static_cast<float>(1.0 / divisor), loss.data(),
                      dlogits_.data(), ok.data());
    for (int64_t i = 0; i < count; ++i) losses->lm += loss[static_cast<size_t>(i)] / divisor;
    if (teacher.model != nullptr) {
      taught_.resize(logits_.size());
      teacher.model->Head(context_, teacher.hidden, rows.data() + first, count, taught_.data());
      ops::Distill(context_, student, {taught_.data(), stride, count, vocabulary},
                   static_cast<float>(weights.temperature), static_cast<float>(weights.distill / divisor),
                   loss.data(), dlogits_.data(), ok.data());
      for (int64_t i = 0; i < count; ++i) losses->distill += loss[static_cast<size_t>(i)] / divisor;
    }
    FT_RETURN_IF_ERROR(RequireFinite(ok, "a logit"));
    model_.trainable()->HeadBackward(context_, hidden_.data(), rows.data() + first, count, dlogits_.data());
  }
  return base::OkStatus();
}

base::Result<Losses> Objective::Run(const Slot& slot, const StepTotals& step, const LossWeights& weights,
                                    const Teacher& teacher) {
  FT_CHECK(slot.targets.size() == slot.batch.ids.size());
  FT_CHECK(step.tokens >= slot.batch.rows() && step.tokens > 0);
  if (step.targets == 0) return base::BadInput("the step has no token to predict");
  const int64_t longest = model_.config().max_positions;
  for (const cache::Span& span : slot.batch.spans)
    if (span.text_position() + span.count > longest)
      return base::BadInput("a document reaches position {}, but the model has {}",
                            span.text_position() + span.count - 1, longest);
  const int64_t rows = slot.batch.rows();
  hidden_.resize(std::max(hidden_.size(), static_cast<size_t>(rows * model_.hidden_stride())));
  std::vector<uint8_t> row_ok(static_cast<size_t>(rows));
  GateMeter meter(context_, classes_);
  meter.Start(&slot.batch);
  GateProbe probe(weights.monitor ? &meter : nullptr);
  const Recording recording(context_, &tape_, &probe);
  if (!slot.regularisation.row.empty()) {
    FT_CHECK(static_cast<int64_t>(slot.regularisation.row.size()) == rows);
    context_.set_regularisation(&slot.regularisation);
  }
  model_.Forward(context_, slot.batch, hidden_.data(), row_ok.data());
  FT_RETURN_IF_ERROR(RequireFinite(row_ok, "a norm"));
  Losses losses;
  FT_RETURN_IF_ERROR(RunHead(slot, step, weights, teacher, &losses));
  gates_ = meter.layers();
  RunGates(context_, probe.Counted(context_), static_cast<double>(rows) / static_cast<double>(step.tokens),
           weights, &losses);
  tape_.Backward();
  losses.total = losses.lm + weights.balance * losses.balance + weights.entropy * losses.entropy +
                 weights.polarise * losses.polarise + weights.distill * losses.distill;
  return losses;
}

}  // namespace fusiontree::train
