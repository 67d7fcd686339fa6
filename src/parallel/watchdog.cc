#include "parallel/watchdog.h"

#include <fmt/core.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"

namespace fusiontree::parallel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kBeat(500);
constexpr seconds kSilence(5);            // from here on a rank counts as hanging
constexpr milliseconds kSuspended(2500);  // a gap in our own beats: we were stopped, not the others
constexpr seconds kAfterFailure(3);       // for all ranks to come to their ends by themselves
constexpr seconds kPrinter(2);            // for the rank that prints to end the job

}  // namespace

Watchdog::Watchdog(const Region& region, int seat, std::function<void()> end_job)
    : region_(region), seat_(seat), end_job_(std::move(end_job)), stop_file_(eventfd(0, EFD_CLOEXEC)) {
  neighbours_.resize(static_cast<size_t>(region.size));
  for (int i = 0; i < region.size; ++i) {
    Neighbour& neighbour = neighbours_[static_cast<size_t>(i)];
    neighbour.seen = Clock::now();
    if (i != seat)
      neighbour.process_file = static_cast<int>(syscall(SYS_pidfd_open, region.seat(i).process, 0));
  }
  // Signals are for the program's own threads: the new thread starts with the mask of this one.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  const uint64_t one = 1;
  FT_CHECK(write(stop_file_, &one, sizeof(one)) == sizeof(one));
  thread_.join();
  for (const Neighbour& neighbour : neighbours_)
    if (neighbour.process_file >= 0) close(neighbour.process_file);
  if (stop_file_ >= 0) close(stop_file_);
}

void Watchdog::Run() {
  std::vector<pollfd> files;
  Clock::time_point last = Clock::now();
  while (true) {
    region_.seat(seat_).beats.fetch_add(1, std::memory_order_relaxed);
    files.assign(1, {stop_file_, POLLIN, 0});
    for (const Neighbour& neighbour : neighbours_)
      files.push_back({neighbour.dead ? -1 : neighbour.process_file, POLLIN, 0});
    poll(files.data(), files.size(), static_cast<int>(kBeat.count()));
    if (files[0].revents != 0) return;
    const Clock::time_point now = Clock::now();
    for (size_t i = 0; i < neighbours_.size(); ++i) {
      const bool gone = neighbours_[i].process_file >= 0
                            ? files[i + 1].revents != 0
                            : kill(region_.seat(static_cast<int>(i)).process, 0) != 0 && errno == ESRCH;
      neighbours_[i].dead = neighbours_[i].dead || gone;
    }
    if (now - last > kSuspended)
      for (Neighbour& neighbour : neighbours_) neighbour.seen = now;
    last = now;
    Look(now);
  }
}

void Watchdog::Look(Clock::time_point now) {
  std::string sentence;
  int printer = region_.size;  // the lowest that lives and answers
  for (int i = 0; i < region_.size; ++i) {
    const Seat& seat = region_.seat(i);
    Neighbour& neighbour = neighbours_[static_cast<size_t>(i)];
    const uint32_t beats = seat.beats.load(std::memory_order_relaxed);
    if (beats != neighbour.beats || i == seat_) {
      neighbour.beats = beats;
      neighbour.seen = now;
    }
    const bool left = seat.left.load(std::memory_order_acquire) != 0;
    const bool silent = now - neighbour.seen >= kSilence;
    if (!left && sentence.empty()) {
      if (neighbour.dead) sentence = fmt::format("rank {} ended before its work was done", seat.rank);
      if (silent && !neighbour.dead)
        sentence = fmt::format("rank {} has not answered for {} s", seat.rank, kSilence.count());
    }
    if (!neighbour.dead && !silent && printer == region_.size) printer = i;
  }
  bool trouble = !sentence.empty();
  const Board& board = region_.board();
  if (board.failed()) {
    if (failed_at_ == Clock::time_point::max()) failed_at_ = now;
    if (!trouble && now - failed_at_ < kAfterFailure) return;
    trouble = true;
    // The first error stands. Rank 0 prints before it leaves; nobody needs to do it for it then.
    const bool printed =
        region_.seat(0).rank == 0 && region_.seat(0).left.load(std::memory_order_acquire) != 0;
    sentence = printed ? "" : board.status().message();
  }
  if (trouble) End(sentence, printer);
}

void Watchdog::End(const std::string& sentence, int printer) {
  if (printer != seat_) std::this_thread::sleep_for(kPrinter);  // usually ended with the job in here
  if (!sentence.empty() && region_.board().Announce()) {
    const std::string line = "fusiontree: " + sentence + "\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  }
  end_job_();
}

}  // namespace fusiontree::parallel
