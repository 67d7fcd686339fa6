// What bench has all ranks do together.
#ifndef FUSIONTREE_CLI_BENCH_RANKS_H_
#define FUSIONTREE_CLI_BENCH_RANKS_H_

#include <cstddef>
#include <string>

#include "bench/exchange_bench.h"
#include "bench/limits.h"
#include "engine/ranks.h"

namespace fusiontree::cli {

constexpr size_t kBandwidthBytes = size_t{512} << 20;  // beyond every cache

// Rank 0; `threads` of each rank, 0: its share of the processors.
base::Result<bench::Limits> LimitsOnRanks(parallel::Communicator& communicator, int64_t threads);
base::Result<bench::ExchangeFit> ExchangeOnRanks(parallel::Communicator& communicator);

// "an exchange takes 3.0 us + bytes received / 9.9 GB/s (fitted to 256 B ... 4 MB, 12% off at most)"
std::string ExchangeText(const bench::ExchangeFit& fit);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_BENCH_RANKS_H_
