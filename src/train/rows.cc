#include "train/rows.h"

#include <algorithm>

#include "base/check.h"

namespace fusiontree::train {

base::Result<std::unique_ptr<RowSource>> RowSource::Open(const RunConfig& config) {
  std::unique_ptr<RowSource> rows(new RowSource(config));
  if (!config.recall.empty()) {
    for (const Stage& stage : config.stages)
      if (stage.length != config.stages[0].length)
        return base::BadInput("the stages of a recall task must have rows of one length");
    FT_ASSIGN_OR_RETURN(data::RecallTask task, data::RecallTask::Make(config.recall[0], config.seed));
    rows->task_ = std::make_unique<data::RecallTask>(std::move(task));
    return rows;
  }
  std::vector<data::MixturePart> parts;
  for (const DataSource& source : config.data) {
    FT_ASSIGN_OR_RETURN(data::ShardFolder folder, data::ShardFolder::Open(source.path));
    rows->folders_.push_back(std::make_unique<data::ShardFolder>(std::move(folder)));
    if (rows->folders_.back()->tokenizer_digest != rows->folders_[0]->tokenizer_digest)
      return base::BadInput("{} and {} were made with different tokenizers", config.data[0].path,
                            source.path);
    parts.push_back({&rows->folders_.back()->train, source.weight});
  }
  data::StreamOptions options;
  options.seed = config.seed;
  FT_ASSIGN_OR_RETURN(data::DocumentStream stream, data::DocumentStream::Make(parts, options));
  rows->stream_ = std::make_unique<data::DocumentStream>(std::move(stream));
  for (const Stage& stage : config.stages)
    if (stage.length > rows->stream_->tokens_per_epoch())
      return base::BadInput("{}: has {} tokens, fewer than one row of {}", config.data[0].path,
                            rows->stream_->tokens_per_epoch(), stage.length);
  return rows;
}

StepPlace RowSource::PlaceOf(int64_t step) const {
  StepPlace place;
  for (const Stage& stage : config_.stages) {
    place.stage = &stage;
    place.stage_first = place.tokens_before;
    place.in_stage = step;
    if (step < stage.steps()) break;
    step -= stage.steps();
    place.tokens_before += stage.steps() * stage.batch;
    place.first_row += stage.steps() * stage.rows();
  }
  FT_CHECK(place.in_stage < place.stage->steps());
  place.tokens_before += place.in_stage * place.stage->batch;
  place.first_row += place.in_stage * place.stage->rows();
  return place;
}

base::Result<data::Row> RowSource::Get(const StepPlace& place, int64_t row) const {
  if (task_ != nullptr) return task_->Generate(place.first_row + row);
  const Stage& stage = *place.stage;
  const data::StageRows rows{place.stage_first, stage.length, stage.rows(), stage.steps(),
                             stage.state_passing};
  return stream_->Pack(rows.Position(place.in_stage, row), stage.length,
                       rows.ChainStart(place.in_stage, row));
}

int64_t RowSource::vocab_size() const {
  if (task_ != nullptr) return config_.recall[0].vocab_size;
  int64_t size = 0;
  for (const auto& folder : folders_) size = std::max(size, folder->vocab_size);
  return size;
}

}  // namespace fusiontree::train
