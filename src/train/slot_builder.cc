#include "train/slot_builder.h"

#include "models/fusiontree/config.h"

namespace fusiontree::train {

SlotBuilder::SlotBuilder(const RunConfig* config, const RowSource* rows, const models::Model* model)
    : config_(*config), rows_(*rows), model_(*model), pages_(model->cache_layout(), size_t{1} << 40) {}

base::Result<BuiltSlot> SlotBuilder::Build(int64_t step, const std::vector<data::Row>& rows,
                                           int64_t first_row) {
  BuiltSlot built;
  Slot& slot = built.slot;
  ops::Regularisation& drawn = slot.regularisation;
  drawn.seed = config_.seed;
  drawn.step = step;
  if (const auto* model = dynamic_cast<const models::FusionTreeConfig*>(&model_.config())) {
    drawn.dropout = model->dropout;
    drawn.drop_branch = model->drop_branch;
  }
  const std::vector<int64_t>& windows = rows_.PlaceOf(step).stage->windows;
  if (!windows.empty())
    drawn.window_size =
        windows[drawn.Draw(0, 0, -1, ops::Purpose::kWindow) % static_cast<uint64_t>(windows.size())];
  const int64_t longest = model_.config().max_positions;
  for (const data::Row& row : rows) {
    int64_t begin = 0;
    for (size_t t = 0, piece = 0; t < row.ids.size(); ++t) {
      if (piece < row.pieces.size() && row.pieces[piece].begin == static_cast<int32_t>(t)) {
        begin = static_cast<int64_t>(t);
        ++piece;
      }
      drawn.row.push_back(first_row);
      drawn.column.push_back(static_cast<int64_t>(t));
      drawn.begin.push_back(begin);
    }
    for (const data::Piece& piece : row.pieces) {
      built.sequences.push_back(model_.NewSequence(&pages_));
      // A text longer than the model's positions begins anew in each row past them.
      if (piece.continues && piece.first_position + piece.length <= longest)
        FT_RETURN_IF_ERROR(
            built.sequences.back()->ContinueFrom(piece.first_position, carried_.Of(first_row)));
      FT_RETURN_IF_ERROR(
          slot.batch.Add(built.sequences.back().get(), row.ids.data() + piece.begin, piece.length));
    }
    if (row.pieces.empty()) {  // of a task
      built.sequences.push_back(model_.NewSequence(&pages_));
      FT_RETURN_IF_ERROR(
          slot.batch.Add(built.sequences.back().get(), row.ids.data(), static_cast<int64_t>(row.ids.size())));
    }
    slot.targets.insert(slot.targets.end(), row.targets.begin(), row.targets.end());
    ++first_row;
  }
  return built;
}

void SlotBuilder::Carry(const BuiltSlot& built, const std::vector<data::Row>& rows, int64_t first_row) {
  size_t sequence = 0;
  for (const data::Row& row : rows) {
    sequence += row.pieces.size();
    carried_.Keep(first_row++, built.sequences[sequence - 1]->StateBytes());
  }
}

}  // namespace fusiontree::train
