// Ends the job when a rank of this machine dies, stops or, after a failure, does not come to an end.
#ifndef FUSIONTREE_PARALLEL_WATCHDOG_H_
#define FUSIONTREE_PARALLEL_WATCHDOG_H_

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "parallel/board.h"

namespace fusiontree::parallel {

// A thread that twice a second shows that its process lives and looks whether the others do. It never asks
// how long an operation takes: a forward may take minutes. Every rank has one; of those that see trouble the
// lowest living rank prints the sentence.
class Watchdog {
 public:
  // `seat` of `region` is this process's own; all seats hold their ranks and processes. `end_job` does not
  // return.
  Watchdog(const Region& region, int seat, std::function<void()> end_job);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  struct Neighbour {
    int process_file = -1;  // becomes readable when the process ends; -1: ask by its id
    bool dead = false;
    uint32_t beats = 0;
    Clock::time_point seen;
  };

  void Run();
  void Look(Clock::time_point now);
  void End(const std::string& sentence, int printer);

  const Region region_;
  const int seat_;
  const std::function<void()> end_job_;
  std::vector<Neighbour> neighbours_;  // [region.size], this process's own unused
  Clock::time_point failed_at_ = Clock::time_point::max();
  int stop_file_;  // an event: written to by the destructor
  std::thread thread_;
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_WATCHDOG_H_
