#include "parallel/local.h"

#include <thread>
#include <utility>

#include "base/check.h"
#include "base/thread_pool.h"

namespace fusiontree::parallel {

LocalGroup::LocalGroup(int size) {
  FT_CHECK(size >= 1 && size < 65536);
  Region region{.size = size, .window_bytes = kMostWindowBytes};
  base::Result<Mapping> memory = Mapping::Anonymous(region.Bytes());
  // Where addresses are rationed (ulimit -v), smaller windows; a larger one then fails with a sentence.
  while (!memory.ok() && region.window_bytes > (size_t{1} << 20)) {
    region.window_bytes /= 2;
    memory = Mapping::Anonymous(region.Bytes());
  }
  FT_CHECK(memory.ok());
  memory_ = std::move(memory).value();
  region.memory = memory_.data();
  region.Construct();
  const bool spin = size <= base::ThreadPool::AvailableProcessors();
  for (int rank = 0; rank < size; ++rank)
    ranks_.push_back(std::make_unique<SharedRanks>(region, rank, spin, "threads"));
}

base::Status RunRanks(int size, const std::function<base::Status(Communicator&)>& body) {
  LocalGroup group(size);
  const auto run = [&](int rank) {
    base::Status status = body(group.rank(rank));
    if (!status.ok()) group.rank(rank).Fail(std::move(status));
  };
  std::vector<std::thread> threads;
  for (int rank = 1; rank < size; ++rank) threads.emplace_back(run, rank);
  run(0);
  for (std::thread& thread : threads) thread.join();
  return group.rank(0).status();
}

}  // namespace fusiontree::parallel
