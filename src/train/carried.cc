#include "train/carried.h"

#include <cstring>

#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"

namespace fusiontree::train {
namespace {

constexpr const char* kTensor = "states";

}  // namespace

const std::vector<std::byte>& CarriedStates::Of(int64_t row) const {
  const auto found = states_.find(row);
  FT_CHECK(found != states_.end());
  return found->second;
}

base::Result<Lanes> CarriedStates::Gather(parallel::Communicator* communicator, int64_t rows) const {
  Lanes lanes;
  lanes.rows = rows;
  const int64_t ranks = communicator ? communicator->size() : 1, own = rows / ranks;
  const int64_t first = communicator ? communicator->rank() * own : 0;
  const size_t floats = Of(first).size() / sizeof(float);
  lanes.states.resize(static_cast<size_t>(rows) * floats);
  std::vector<float> of_row(floats * static_cast<size_t>(ranks));
  for (int64_t r = 0; r < own; ++r) {
    const std::vector<std::byte>& mine = Of(first + r);
    FT_CHECK(mine.size() == floats * sizeof(float));
    if (communicator == nullptr) {
      std::memcpy(of_row.data(), mine.data(), mine.size());
    } else {
      communicator->AllGather(mine.data(), mine.size(), of_row.data());
      FT_RETURN_IF_ERROR(communicator->status());
    }
    for (int64_t rank = 0; rank < ranks; ++rank)
      std::memcpy(lanes.states.data() + static_cast<size_t>(rank * own + r) * floats,
                  of_row.data() + static_cast<size_t>(rank) * floats, mine.size());
  }
  return lanes;
}

void CarriedStates::Restore(const Lanes& lanes) {
  const size_t floats = lanes.states.size() / static_cast<size_t>(lanes.rows);
  for (int64_t row = 0; row < lanes.rows; ++row) {
    std::vector<std::byte>& states = states_[row];
    states.resize(floats * sizeof(float));
    std::memcpy(states.data(), lanes.states.data() + static_cast<size_t>(row) * floats, states.size());
  }
}

base::Status WriteLanes(const std::string& folder, const Lanes& lanes) {
  const int64_t floats = static_cast<int64_t>(lanes.states.size()) / lanes.rows;
  FT_ASSIGN_OR_RETURN(
      checkpoint::SafetensorsWriter writer,
      checkpoint::SafetensorsWriter::Create(folder + "/" + kCarriedFile,
                                            {{kTensor, tensor::DType::kF32, {lanes.rows, floats}}}));
  FT_RETURN_IF_ERROR(writer.Append(kTensor, lanes.states.data(), lanes.states.size() * sizeof(float)));
  return writer.Finish();
}

base::Result<Lanes> ReadLanes(const std::string& folder, int64_t rows, int64_t bytes) {
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint file,
                      checkpoint::Checkpoint::OpenTensors(folder + "/" + kCarriedFile));
  const checkpoint::TensorInfo* info = file.Find(kTensor);
  const std::vector<int64_t> shape = {rows, bytes / static_cast<int64_t>(sizeof(float))};
  if (info == nullptr || info->type != tensor::DType::kF32 || info->shape != shape)
    return base::BadInput("{}: does not hold the states of {} rows, {} bytes each", file.path(), rows, bytes);
  Lanes lanes;
  lanes.rows = rows;
  lanes.states.resize(info->bytes / sizeof(float));
  FT_RETURN_IF_ERROR(file.Read(*info, 0, info->bytes, lanes.states.data()));
  return lanes;
}

}  // namespace fusiontree::train
