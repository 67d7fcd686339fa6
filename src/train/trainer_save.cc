// What a run leaves: what it measures on held-out documents, and checkpoints.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "models/trainable.h"
#include "train/snapshot_folder.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

constexpr int64_t kExchangeFloats = 1 << 22;  // of weights or moments, at a time

}  // namespace

base::Status Trainer::Agree(const base::Status& mine) {
  if (communicator_ == nullptr) return mine;
  if (!mine.ok()) communicator_->Fail(mine);
  return mine.ok() ? communicator_->status() : mine;
}

base::Status Trainer::GatherShards(const float* own, float* whole) {
  const int64_t first = ShardOf(rank()).begin;
  if (communicator_ == nullptr) {
    if (whole != own) std::copy_n(own, layout_->size(), whole);
    return base::OkStatus();
  }
  int64_t longest = 0;
  for (int r = 0; r < ranks(); ++r) longest = std::max(longest, ShardOf(r).end - ShardOf(r).begin);
  for (int64_t begin = 0; begin < longest; begin += kExchangeFloats) {
    const int64_t count = std::min(kExchangeFloats, longest - begin);
    const auto piece = [&](int r) {
      const base::Range shard = ShardOf(r);
      return base::Range{std::min(shard.end, shard.begin + begin),
                         std::min(shard.end, shard.begin + begin + count)};
    };
    const base::Range mine = piece(rank());
    std::copy(own + (mine.begin - first), own + (mine.end - first), communicator_->Window(count));
    const float* const* parts = communicator_->Exchange(count);
    if (!communicator_->status().ok()) return communicator_->status();
    for (int r = 0; r < ranks() && whole != nullptr; ++r) {
      const base::Range range = piece(r);
      std::copy_n(parts[r], range.end - range.begin, whole + range.begin);
    }
  }
  return base::OkStatus();
}

base::Result<HeldOut> Trainer::EvaluateHeldOut() {
  HeldOut all;
  const int64_t sets = static_cast<int64_t>(rows_->folders().size());
  for (const auto& folder : rows_->folders()) {
    if (folder->held_out.documents() == 0) continue;
    FT_ASSIGN_OR_RETURN(const HeldOut part,
                        Evaluate(context_, *model_, folder->held_out,
                                 std::max<int64_t>(1, config_.evaluate_tokens / sets), classes_));
    all.documents += part.documents;
    all.tokens += part.tokens;
    all.bytes += part.bytes;
    all.nats += part.nats;
    for (const GateStatistics& of_layer : part.gates) AddTo(&all.gates, of_layer);
  }
  measured_.reset();
  measured_step_ = step_;
  if (all.bytes > 0 && std::isfinite(all.bits_per_byte())) measured_ = {all.bits_per_byte(), all.bytes};
  return all;
}

base::Result<std::string> Trainer::Save() {
  const std::string path = SnapshotPath(run_, step_);
  FT_RETURN_IF_ERROR(Agree(writer_ ? writer_->Poll() : base::OkStatus()));
  if (saved_step_ == step_) return path;
  SnapshotWriter::Values values = {};
  if (rank() == 0) {
    if (writer_ == nullptr)
      writer_ =
          std::make_unique<SnapshotWriter>(layout_.get(), &model_->trainable()->parameters(), config_.bf16);
    FT_RETURN_IF_ERROR(Agree(writer_->Wait()));
    values = writer_->Prepare();
    std::copy(master_.begin(), master_.end(), values.master);
  }
  FT_RETURN_IF_ERROR(GatherShards(first_.data(), values.first));
  FT_RETURN_IF_ERROR(GatherShards(second_.data(), values.second));
  std::optional<Lanes> carried;
  if (const Stage* passing = PassingStage()) {
    FT_ASSIGN_OR_RETURN(carried, slot_builder_->carried().Gather(communicator_, passing->rows()));
  }
  if (rank() == 0) {
    SnapshotWriter::Job job;
    job.run = run_;
    job.keep = config_.keep;
    job.state = {step_, tokens(), config_text_, fingerprint_, std::nullopt, {}};
    if (measured_step_ == step_) job.state.held_out = measured_;
    job.files = {config_json_, tokenizer_folder_, std::move(carried)};
    writer_->Start(std::move(job));
  }
  saved_step_ = step_;
  return path;
}

base::Status Trainer::AwaitSave() {
  const base::Status written = writer_ ? writer_->Wait() : base::OkStatus();
  if (communicator_ == nullptr) return written;
  if (!written.ok()) communicator_->Fail(written);
  communicator_->Barrier();
  return Agree(written);
}

}  // namespace fusiontree::train
