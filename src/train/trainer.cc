#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "models/trainable.h"
#include "ops/finite_probe.h"
#include "parallel/tree.h"

namespace fusiontree::train {
namespace {

constexpr int64_t kExchangeFloats = 1 << 22;  // of gradients, at a time

Losses Sum(const std::vector<Losses>& slots) {
  Losses sum;
  for (const Losses& slot : slots) {
    sum.lm += slot.lm;
    sum.balance += slot.balance;
    sum.entropy += slot.entropy;
    sum.polarise += slot.polarise;
    sum.distill += slot.distill;
    sum.total += slot.total;
    sum.targets += slot.targets;
  }
  return sum;
}

}  // namespace

base::Status Trainer::Refresh() {
  std::vector<const float*> values;
  for (size_t i = 0; i < layout_->count(); ++i) values.push_back(master_.data() + layout_->offset(i));
  return model_->trainable()->Refresh(context_, values);
}

int64_t Trainer::tokens() const {
  if (step_ == 0) return 0;
  const StepPlace last = rows_->PlaceOf(step_ - 1);
  return last.tokens_before + last.stage->batch;
}

double Trainer::StepFlops() const {
  const Stage& stage = *rows_->PlaceOf(std::min(step_, steps() - 1)).stage;
  return 3.0 * static_cast<double>(stage.batch) *
         (model_->FlopsPerToken(stage.length / 2) + model_->HeadFlops());
}

base::Status Trainer::NameNonFinite(const std::vector<data::Row>& rows, int64_t first_row) {
  FT_ASSIGN_OR_RETURN(const BuiltSlot built, slot_builder_->Build(step_, rows, first_row));
  const Slot& slot = built.slot;
  const int64_t count = slot.batch.rows();
  std::vector<float> hidden(static_cast<size_t>(count * model_->hidden_stride()));
  std::vector<uint8_t> ok(static_cast<size_t>(count));
  ops::FiniteProbe probe(context_.kernels());
  context_.set_probe(&probe);
  context_.set_regularisation(&slot.regularisation);
  model_->Forward(context_, slot.batch, hidden.data(), ok.data());
  context_.set_probe(nullptr);
  context_.set_regularisation(nullptr);
  return base::Failed("step {}: a value is not finite: {}", step_ + 1,
                      probe.where().empty() ? "in the losses or the backward" : probe.where());
}

base::Result<Teacher> Trainer::Teach(const std::vector<data::Row>& rows, int64_t first_row) {
  if (teacher_ == nullptr) return Teacher();
  FT_ASSIGN_OR_RETURN(const BuiltSlot built, teacher_slots_->Build(step_, rows, first_row));
  const int64_t count = built.slot.batch.rows();
  taught_.resize(std::max(taught_.size(), static_cast<size_t>(count * teacher_->hidden_stride())));
  std::vector<uint8_t> ok(static_cast<size_t>(count));
  teacher_->Forward(context_, built.slot.batch, taught_.data(), ok.data());
  if (std::find(ok.begin(), ok.end(), 0) != ok.end())
    return base::BadInput("{}: a value of the teacher is not finite in step {}", config_.teacher, step_ + 1);
  return Teacher{teacher_.get(), taught_.data()};
}

const Stage* Trainer::PassingStage() const {
  if (step_ == 0 || done()) return nullptr;
  const StepPlace next = rows_->PlaceOf(step_);
  return next.stage->state_passing && next.in_stage > 0 ? next.stage : nullptr;
}

base::Status Trainer::SumOverRanks(float* gradient, std::vector<Losses>* losses,
                                   std::vector<GateStatistics>* gates) {
  if (communicator_ == nullptr) return base::OkStatus();
  for (int64_t begin = 0; begin < layout_->size(); begin += kExchangeFloats) {
    const int64_t count = std::min(kExchangeFloats, layout_->size() - begin);
    std::copy_n(gradient + begin, count, communicator_->Window(count));
    const float* const* parts = communicator_->Exchange(count);
    if (!communicator_->status().ok()) return communicator_->status();
    context_.For(count, 4096, 2, [&](int, base::Range share) {
      parallel::SumTree(parts, ranks(), share.begin, share.end, gradient + begin);
    });
  }
  std::vector<Losses> all(static_cast<size_t>(config_.slots));
  communicator_->AllGather(losses->data(), losses->size() * sizeof(Losses), all.data());
  if (!communicator_->status().ok()) return communicator_->status();
  *losses = std::move(all);
  if (gates->empty()) return base::OkStatus();  // of every rank or of none
  std::vector<double> mine;
  for (const GateStatistics& g : *gates) {
    const std::vector<double> flat = g.Flat();
    mine.insert(mine.end(), flat.begin(), flat.end());
  }
  const size_t channels = gates->front().channels.size(), each = GateStatistics::kFlat + channels;
  FT_CHECK(mine.size() == each * gates->size());
  std::vector<double> all_gates(mine.size() * static_cast<size_t>(ranks()));
  communicator_->AllGather(mine.data(), mine.size() * sizeof(double), all_gates.data());
  if (!communicator_->status().ok()) return communicator_->status();
  gates->clear();
  for (size_t at = 0; at < all_gates.size(); at += each)
    gates->push_back(GateStatistics::FromFlat(all_gates.data() + at, channels));
  return base::OkStatus();
}

base::Result<StepReport> Trainer::Step() {
  FT_CHECK(!done());
  FT_RETURN_IF_ERROR(Agree(writer_ ? writer_->Poll() : base::OkStatus()));
  const StepPlace place = rows_->PlaceOf(step_);
  const int64_t per_slot = place.stage->rows() / config_.slots, own = config_.slots / ranks();
  const int64_t first_slot = rank() * own;
  std::vector<std::vector<data::Row>> slots(static_cast<size_t>(own));
  int64_t targets = 0;
  for (int64_t s = 0; s < own; ++s)
    for (int64_t r = 0; r < per_slot; ++r) {
      FT_ASSIGN_OR_RETURN(data::Row row, rows_->Get(place, (first_slot + s) * per_slot + r));
      targets += row.CountTargets();
      slots[static_cast<size_t>(s)].push_back(std::move(row));
    }
  if (communicator_ != nullptr) {
    std::vector<int64_t> all(static_cast<size_t>(ranks()));
    communicator_->AllGather(&targets, sizeof(targets), all.data());
    if (!communicator_->status().ok()) return communicator_->status();
    targets = 0;
    for (const int64_t t : all) targets += t;
  }
  const StepTotals totals{targets, place.stage->batch};
  LossWeights weights = config_.losses;
  weights.balance = config_.balance.At(place.tokens_before);
  weights.entropy = config_.entropy.At(place.tokens_before);
  weights.polarise = config_.polarise.At(place.tokens_before);
  weights.distill = config_.distill.At(place.tokens_before);
  weights.monitor = (step_ + 1) % config_.log_every == 0 || step_ + 1 == steps();
  std::vector<Losses> losses(static_cast<size_t>(own));
  std::vector<GateStatistics> gates;  // of each slot and layer
  models::Trainable& trainable = *model_->trainable();
  const auto compute = [&](int64_t s, float* out) -> base::Status {
    const int64_t first_row = (first_slot + s) * per_slot;
    FT_ASSIGN_OR_RETURN(const BuiltSlot built,
                        slot_builder_->Build(step_, slots[static_cast<size_t>(s)], first_row));
    FT_ASSIGN_OR_RETURN(const Teacher teacher, Teach(slots[static_cast<size_t>(s)], first_row));
    trainable.ZeroGradients(context_);
    const base::Result<Losses> run = objective_->Run(built.slot, totals, weights, teacher);
    if (!run.ok() && run.status().kind() == base::ErrorKind::kFailed)
      return NameNonFinite(slots[static_cast<size_t>(s)], first_row);
    if (!run.ok()) return run.status();
    if (place.stage->state_passing) slot_builder_->Carry(built, slots[static_cast<size_t>(s)], first_row);
    losses[static_cast<size_t>(s)] = *run;
    gates.insert(gates.end(), objective_->gates().begin(), objective_->gates().end());
    for (size_t i = 0; i < layout_->count(); ++i) trainable.ReadGradient(i, out + layout_->offset(i));
    return base::OkStatus();
  };
  base::Result<float*> summed = slot_sum_->Run(context_, own, compute);
  if (!summed.ok()) return Agree(summed.status());
  float* gradient = *summed;
  StepReport report;
  FT_RETURN_IF_ERROR(SumOverRanks(gradient, &losses, &gates));
  for (const GateStatistics& of_slot : gates) AddTo(&report.gates, of_slot);
  report.losses = Sum(losses);
  report.gradient_norm = __builtin_sqrt(SumOfSquares(context_, gradient, layout_->size()));
  if (!std::isfinite(report.gradient_norm)) {
    for (int64_t i = 0; i < layout_->size(); ++i)
      if (!std::isfinite(gradient[i]))
        return base::Failed("step {}: the gradient of {} is not finite", step_ + 1,
                            layout_->name(layout_->ParameterAt(i)));
    return base::Failed("step {}: the gradient's norm is not finite", step_ + 1);
  }
  const int64_t after = place.tokens_before + place.stage->batch;
  report.learning_rate =
      config_.optimizer.learning_rate * config_.rate.Factor(after) * place.stage->learning_rate_factor;
  const double clip = config_.optimizer.clip;
  const float scale =
      clip > 0.0 && report.gradient_norm > clip ? static_cast<float>(clip / report.gradient_norm) : 1.0f;
  FT_RETURN_IF_ERROR(Update(gradient, scale, report.learning_rate));
  report.step = ++step_;
  report.tokens = after;
  return report;
}

base::Range Trainer::ShardOf(int rank) const {
  return base::Share(layout_->size(), kSquareBlock, rank, ranks());
}

base::Status Trainer::Update(const float* gradient, float scale, double rate) {
  const base::Range shard = ShardOf(rank());
  for (size_t i = 0; i < layout_->count(); ++i) {
    const int64_t begin = std::max(shard.begin, layout_->offset(i)),
                  end = std::min(shard.end, layout_->offset(i + 1));
    if (begin >= end) continue;
    const ParameterGroup& group = layout_->group(i);
    AdamStep step{config_.optimizer, rate * group.learning_rate_factor, step_ + 1, scale};
    if (group.weight_decay) step.settings.weight_decay = *group.weight_decay;
    context_.For(end - begin, 4096, 2, [&](int, base::Range share) {
      const int64_t at = begin + share.begin, own = at - shard.begin;
      RunAdam(step, layout_->decays(i), gradient + at, master_.data() + at, first_.data() + own,
              second_.data() + own, share.end - share.begin);
    });
  }
  FT_RETURN_IF_ERROR(GatherShards(master_.data() + shard.begin, master_.data()));
  return Refresh().WithContext(fmt::format("step {}", step_ + 1));
}

}  // namespace fusiontree::train
