#include "parallel/shared_ranks.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "parallel/stopwatch.h"

namespace fusiontree::parallel {

SharedRanks::SharedRanks(const Region& region, int rank, bool spin, std::string name)
    : region_(region),
      rank_(rank),
      spin_(spin),
      name_(std::move(name)),
      parts_(static_cast<size_t>(region.size)) {}

bool SharedRanks::Arrive(Operation operation, uint64_t amount) {
  return region_.board().Arrive(region_.size, static_cast<uint64_t>(operation) << 56 | amount, spin_);
}

float* SharedRanks::Window(int64_t floats) {
  FT_CHECK(floats >= 0);
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  if (bytes > region_.window_bytes)
    Fail(base::Failed("parallel: a window of {} floats is more than {} MB", floats,
                      region_.window_bytes >> 20));
  window_ = region_.board().failed() ? own_.At(exchanges_, floats)
                                     : reinterpret_cast<float*>(region_.window(rank_, exchanges_));
  window_floats_ = floats;
  return window_;
}

const float* const* SharedRanks::Exchange(int64_t floats) {
  FT_CHECK(window_ != nullptr && floats >= 0 && floats <= window_floats_);
  Stopwatch watch(traffic_, static_cast<int64_t>(sizeof(float)) * floats * (size() - 1));
  if (Arrive(Operation::kExchange, static_cast<uint64_t>(floats))) {
    for (int rank = 0; rank < size(); ++rank)
      parts_[static_cast<size_t>(rank)] = reinterpret_cast<const float*>(region_.window(rank, exchanges_));
  } else {
    std::fill(parts_.begin(), parts_.end(), window_);
  }
  window_ = nullptr;
  ++exchanges_;
  return parts_.data();
}

// Control data goes in pieces through two small windows, alternating for the same reason as the large ones.
void SharedRanks::Broadcast(void* data, size_t bytes) {
  Stopwatch watch(traffic_, rank_ == 0 ? 0 : static_cast<int64_t>(bytes));
  for (size_t at = 0; at < bytes; at += Region::kControlBytes) {
    const size_t n = std::min(Region::kControlBytes, bytes - at);
    const int64_t turn = controls_++;
    std::byte* piece = static_cast<std::byte*>(data) + at;
    if (rank_ == 0 && !region_.board().failed()) std::memcpy(region_.control(0, turn), piece, n);
    if (!Arrive(Operation::kBroadcast, bytes - at)) return;
    if (rank_ != 0) std::memcpy(piece, region_.control(0, turn), n);
  }
}

void SharedRanks::AllGather(const void* mine, size_t bytes, void* all) {
  Stopwatch watch(traffic_, static_cast<int64_t>(bytes) * (size() - 1));
  for (size_t at = 0; at < bytes; at += Region::kControlBytes) {
    const size_t n = std::min(Region::kControlBytes, bytes - at);
    const int64_t turn = controls_++;
    if (!region_.board().failed())
      std::memcpy(region_.control(rank_, turn), static_cast<const std::byte*>(mine) + at, n);
    const bool arrived = Arrive(Operation::kAllGather, bytes - at);
    for (int rank = 0; rank < size(); ++rank) {
      std::byte* to = static_cast<std::byte*>(all) + static_cast<size_t>(rank) * bytes + at;
      if (arrived) {
        std::memcpy(to, region_.control(rank, turn), n);
      } else {
        std::memset(to, 0, n);
      }
    }
  }
}

void SharedRanks::Barrier() {
  Stopwatch watch(traffic_, 0);
  Arrive(Operation::kBarrier, 0);
}

}  // namespace fusiontree::parallel
