// Books one operation in a rank's Traffic, from construction to destruction.
#ifndef FUSIONTREE_PARALLEL_STOPWATCH_H_
#define FUSIONTREE_PARALLEL_STOPWATCH_H_

#include <chrono>
#include <cstdint>

#include "parallel/communicator.h"

namespace fusiontree::parallel {

class Stopwatch {
 public:
  Stopwatch(Traffic& traffic, int64_t bytes) : traffic_(traffic) {
    ++traffic_.operations;
    traffic_.bytes += bytes;
  }
  ~Stopwatch() {
    traffic_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  Traffic& traffic_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_STOPWATCH_H_
