#include "cli/bench_ranks.h"

#include <fmt/format.h>

#include "cli/command.h"
#include "report/units.h"

namespace fusiontree::cli {
namespace {

constexpr const char* kLimits = "limits";
constexpr const char* kExchange = "exchange";

// Results go where they are asked for: on rank 0.
engine::RankTasks Tasks(bench::Limits* limits, bench::ExchangeFit* exchange) {
  return {{kLimits,
           [limits](parallel::Communicator& communicator, int64_t threads) -> base::Status {
             const int share = engine::SharedThreads(communicator);
             base::ThreadPool pool(threads > 0 ? static_cast<int>(threads) : share);
             FT_ASSIGN_OR_RETURN(bench::Limits measured,
                                 bench::MeasureLimitsOnRanks(communicator, pool, kBandwidthBytes));
             if (limits) *limits = std::move(measured);
             return base::OkStatus();
           }},
          {kExchange, [exchange](parallel::Communicator& communicator, int64_t) -> base::Status {
             FT_ASSIGN_OR_RETURN(bench::ExchangeFit measured, bench::MeasureExchange(communicator));
             if (exchange) *exchange = std::move(measured);
             return base::OkStatus();
           }}};
}

}  // namespace

engine::RankTasks BenchRankTasks() { return Tasks(nullptr, nullptr); }

base::Result<bench::Limits> LimitsOnRanks(parallel::Communicator& communicator, int64_t threads) {
  bench::Limits limits;
  FT_RETURN_IF_ERROR(engine::RunOnAllRanks(communicator, Tasks(&limits, nullptr), kLimits, threads));
  return limits;
}

base::Result<bench::ExchangeFit> ExchangeOnRanks(parallel::Communicator& communicator) {
  bench::ExchangeFit fit;
  FT_RETURN_IF_ERROR(engine::RunOnAllRanks(communicator, Tasks(nullptr, &fit), kExchange, 0));
  return fit;
}

std::string ExchangeText(const bench::ExchangeFit& fit) {
  return fmt::format(
      "\nan exchange takes {:.1f} us + bytes received / {}/s (fitted to parts of {} to {}, {:.0f}% off at "
      "most)\n",
      fit.latency * 1e6, report::Bytes(fit.bytes_per_second),
      report::Bytes(static_cast<double>(fit.times.front().floats) * 4),
      report::Bytes(static_cast<double>(fit.times.back().floats) * 4), 100 * fit.worst);
}

}  // namespace fusiontree::cli
