#include "parallel/mpi_messages.h"

#include <fmt/core.h>
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"
#include "parallel/stopwatch.h"

namespace fusiontree::parallel {
namespace {

using std::chrono::microseconds;
using Clock = std::chrono::steady_clock;

// A wait asks all the time for so long (without a processor of its own, between turns of others), then in
// naps of an eighth of the wait so far: what is overslept is little beside what the link takes.
constexpr microseconds kAsking(200), kShortestNap(20), kLongestNap(1000);
// MPI counts bytes in an int.
constexpr size_t kMostMessage = size_t{1} << 30;

}  // namespace

// One of MPI's operations in flight. A failure of MPI ends the job.
class MpiMessages::Operation {
 public:
  Operation(const MpiProcess& process, const char* name) : process_(process), name_(name) {}
  MPI_Request* request() { return &request_; }
  void Check(int code) const {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    process_.FailAll(fmt::format("MPI: {} failed: {}", name_, text));
  }
  // MPI's own waiting call would keep a processor busy for as long as it takes.
  void Wait() {
    const Clock::time_point begin = Clock::now();
    while (true) {
      int done = 0;
      Check(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
      if (done != 0) return;
      const auto waited = std::chrono::duration_cast<microseconds>(Clock::now() - begin);
      if (waited < kAsking) {
        if (!process_.spin()) sched_yield();
        continue;
      }
      std::this_thread::sleep_for(std::clamp(waited / 8, kShortestNap, kLongestNap));
    }
  }

 private:
  const MpiProcess& process_;
  const char* const name_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

MpiMessages::MpiMessages(std::unique_ptr<MpiProcess> process)
    : process_(std::move(process)), parts_(static_cast<size_t>(process_->size())) {}

MpiMessages::~MpiMessages() { Barrier(); }  // MPI_Finalize waits for the others too, but not asleep

float* MpiMessages::Window(int64_t floats) {
  FT_CHECK(floats >= 0);
  if (static_cast<size_t>(floats) * sizeof(float) > kMostWindowBytes)
    Fail(base::Failed("parallel: a window of {} floats is more than {} MB", floats, kMostWindowBytes >> 20));
  window_floats_ = floats;
  return windows_.At(0, floats);
}

const float* const* MpiMessages::Exchange(int64_t floats) {
  FT_CHECK(floats >= 0 && floats <= window_floats_);
  Stopwatch watch(traffic_, static_cast<int64_t>(sizeof(float)) * floats * (size() - 1));
  float* all = received_.At(0, floats * size());  // [size, floats]
  const int bytes = static_cast<int>(static_cast<size_t>(floats) * sizeof(float));
  Operation gather(*process_, "MPI_Iallgather");
  gather.Check(MPI_Iallgather(windows_.At(0, floats), bytes, MPI_BYTE, all, bytes, MPI_BYTE, MPI_COMM_WORLD,
                              gather.request()));
  gather.Wait();
  for (int rank = 0; rank < size(); ++rank) parts_[static_cast<size_t>(rank)] = all + rank * floats;
  window_floats_ = -1;
  return parts_.data();
}

void MpiMessages::Broadcast(void* data, size_t bytes) {
  Stopwatch watch(traffic_, rank() == 0 ? 0 : static_cast<int64_t>(bytes));
  for (size_t at = 0; at < bytes; at += kMostMessage) {
    const int n = static_cast<int>(std::min(kMostMessage, bytes - at));
    Operation broadcast(*process_, "MPI_Ibcast");
    broadcast.Check(
        MPI_Ibcast(static_cast<std::byte*>(data) + at, n, MPI_BYTE, 0, MPI_COMM_WORLD, broadcast.request()));
    broadcast.Wait();
  }
}

void MpiMessages::AllGather(const void* mine, size_t bytes, void* all) {
  if (bytes > kMostMessage) Fail(base::Failed("parallel: cannot gather {} bytes a rank at once", bytes));
  Stopwatch watch(traffic_, static_cast<int64_t>(bytes) * (size() - 1));
  const int n = static_cast<int>(bytes);
  Operation gather(*process_, "MPI_Iallgather");
  gather.Check(MPI_Iallgather(mine, n, MPI_BYTE, all, n, MPI_BYTE, MPI_COMM_WORLD, gather.request()));
  gather.Wait();
}

void MpiMessages::Barrier() {
  Stopwatch watch(traffic_, 0);
  Operation barrier(*process_, "MPI_Ibarrier");
  barrier.Check(MPI_Ibarrier(MPI_COMM_WORLD, barrier.request()));
  barrier.Wait();
}

}  // namespace fusiontree::parallel
