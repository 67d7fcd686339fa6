// State passing: what the rows of a step have left in the recurrent states and the convolutions' windows, for
// the rows of the next step, which go on with the same documents.
#ifndef FUSIONTREE_TRAIN_CARRIED_H_
#define FUSIONTREE_TRAIN_CARRIED_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fusiontree::train {

// Of all rows of a step, for a checkpoint.
struct Lanes {
  int64_t rows = 0;
  std::vector<float> states;  // [rows, floats of a sequence]
};

// A rank has those of its own rows.
class CarriedStates {
 public:
  void Keep(int64_t row, std::vector<std::byte> states) { states_[row] = std::move(states); }
  const std::vector<std::byte>& Of(int64_t row) const;

  // Those of rows [0, rows), of which each rank has as many, in order. Every rank calls it.
  base::Result<Lanes> Gather(parallel::Communicator* communicator, int64_t rows) const;
  void Restore(const Lanes& lanes);

 private:
  std::map<int64_t, std::vector<std::byte>> states_;  // by row
};

// carried.safetensors of a checkpoint.
inline constexpr const char* kCarriedFile = "carried.safetensors";
base::Status WriteLanes(const std::string& folder, const Lanes& lanes);
// Refuses other numbers of rows, or of bytes of a sequence.
base::Result<Lanes> ReadLanes(const std::string& folder, int64_t rows, int64_t bytes);

}  // namespace fusiontree::train

#endif  // FUSIONTREE_TRAIN_CARRIED_H_
