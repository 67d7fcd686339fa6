#include "parallel/one_rank.h"

#include <cstring>

#include "base/check.h"
#include "parallel/stopwatch.h"

namespace fusiontree::parallel {

float* OneRank::Window(int64_t floats) {
  if (static_cast<size_t>(floats) * sizeof(float) > kMostWindowBytes)
    Fail(base::Failed("parallel: a window of {} floats is more than {} MB", floats, kMostWindowBytes >> 20));
  window_floats_ = floats;
  return windows_.At(exchanges_, floats);
}

const float* const* OneRank::Exchange(int64_t floats) {
  FT_CHECK(floats >= 0 && floats <= window_floats_);
  Stopwatch watch(traffic_, 0);
  part_ = windows_.At(exchanges_, floats);
  ++exchanges_;
  window_floats_ = -1;
  return &part_;
}

void OneRank::Broadcast(void*, size_t) { Stopwatch watch(traffic_, 0); }

void OneRank::AllGather(const void* mine, size_t bytes, void* all) {
  Stopwatch watch(traffic_, 0);
  if (bytes > 0) std::memcpy(all, mine, bytes);
}

void OneRank::Barrier() { Stopwatch watch(traffic_, 0); }

void OneRank::Fail(base::Status why) {
  FT_CHECK(!why.ok());
  std::lock_guard<std::mutex> lock(mutex_);
  if (status_.ok()) status_ = std::move(why);
}

base::Status OneRank::status() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return status_;
}

}  // namespace fusiontree::parallel
