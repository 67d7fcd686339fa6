// What an exchange between ranks costs: latency and bandwidth, fitted.
#ifndef FUSIONTREE_BENCH_EXCHANGE_BENCH_H_
#define FUSIONTREE_BENCH_EXCHANGE_BENCH_H_

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fusiontree::bench {

struct ExchangeTime {
  int64_t floats = 0;  // of each rank's part
  double bytes = 0;    // received from the others
  double seconds = 0;  // written, exchanged and added up by the tree
};

// seconds = latency + bytes / bytes_per_second.
struct ExchangeFit {
  std::vector<ExchangeTime> times;
  double latency = 0, bytes_per_second = 0;
  double worst = 0;  // largest |fit / time - 1|
};

// The line that is nearest in relative error. At least two times of different sizes.
ExchangeFit FitExchange(std::vector<ExchangeTime> times);

// Every rank calls it.
base::Result<ExchangeFit> MeasureExchange(parallel::Communicator& communicator);

}  // namespace fusiontree::bench

#endif  // FUSIONTREE_BENCH_EXCHANGE_BENCH_H_
