// What an exchange costs: parallel_bench --threads N, or mpirun -n N parallel_bench [--messages].
// Prints microseconds of rank 0, the median of many: the exchange alone; with the sum of all parts by R2's
// tree, for which the parts travel where memory is shared; and what a rank receives a second in that time.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "parallel/local.h"
#include "parallel/mpi.h"
#include "parallel/tree.h"

namespace fusiontree::parallel {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<long>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

base::Status Measure(Communicator& ranks) {
  if (ranks.rank() == 0) {
    fmt::print("{} ranks: {}\n", ranks.size(), ranks.Name());
    fmt::print("{:>10} {:>12} {:>14} {:>10}\n", "floats", "exchange us", "with sum us", "GB/s");
  }
  std::vector<float> sum(1'000'000);
  for (int64_t floats = 1; floats <= 1'000'000; floats *= 10) {
    const int rounds = floats < 100'000 ? 2000 : 100;
    std::vector<double> alone, with_sum;
    for (int round = -rounds / 10; round < rounds; ++round) {
      float* window = ranks.Window(floats);
      std::fill(window, window + floats, static_cast<float>(round));  // as a rank's own products would be
      ranks.Barrier();
      const double begin = Now();
      const float* const* parts = ranks.Exchange(floats);
      const double exchanged = Now();
      SumTree(parts, ranks.size(), 0, floats, sum.data());
      if (round < 0) continue;  // pages touched for the first time
      alone.push_back(exchanged - begin);
      with_sum.push_back(Now() - begin);
    }
    const double seconds = Median(with_sum);
    const double bytes = static_cast<double>(floats) * sizeof(float) * (ranks.size() - 1);
    if (ranks.rank() == 0)
      fmt::print("{:>10} {:>12.2f} {:>14.2f} {:>10.3f}\n", floats, Median(alone) * 1e6, seconds * 1e6,
                 bytes / seconds / 1e9);
  }
  return ranks.status();
}

int Main(int argc, char** argv) {
  int threads = 0;
  MpiOptions options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--messages") == 0) options.messages = true;
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) threads = std::atoi(argv[++i]);
  }
  base::Status status;
  if (threads > 0) {
    status = RunRanks(threads, Measure);
  } else if (LaunchedByMpi()) {
    base::Result<std::unique_ptr<Communicator>> ranks = JoinMpi(options);
    status = ranks.ok() ? Measure(**ranks) : ranks.status();
  } else {
    status = base::BadInput("usage: parallel_bench --threads N, or mpirun -n N parallel_bench [--messages]");
  }
  if (!status.ok()) fmt::print(stderr, "{}\n", status.message());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace fusiontree::parallel

int main(int argc, char** argv) { return fusiontree::parallel::Main(argc, argv); }
