#include "bench/exchange_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "parallel/tree.h"

namespace fusiontree::bench {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Size {
  int64_t floats;
  int repeats;
};
// From a row of a small model to a long prefill.
constexpr Size kSizes[] = {{64, 2000}, {1024, 1000}, {16384, 300}, {131072, 50}, {1048576, 8}};
constexpr int kTries = 5;

}  // namespace

ExchangeFit FitExchange(std::vector<ExchangeTime> times) {
  // Least squares of (a + b x) / y - 1.
  double uu = 0, uv = 0, vv = 0, u1 = 0, v1 = 0;
  for (const ExchangeTime& t : times) {
    const double u = 1 / t.seconds, v = t.bytes / t.seconds;
    uu += u * u, uv += u * v, vv += v * v, u1 += u, v1 += v;
  }
  const double determinant = uu * vv - uv * uv;
  ExchangeFit fit;
  fit.latency = std::max(0.0, (u1 * vv - v1 * uv) / determinant);
  const double per_byte = (uu * v1 - uv * u1) / determinant;
  fit.bytes_per_second = per_byte > 0 ? 1 / per_byte : 0;
  for (const ExchangeTime& t : times)
    fit.worst = std::max(fit.worst, std::fabs((fit.latency + t.bytes * per_byte) / t.seconds - 1));
  fit.times = std::move(times);
  return fit;
}

base::Result<ExchangeFit> MeasureExchange(parallel::Communicator& communicator) {
  const int ranks = communicator.size();
  std::vector<ExchangeTime> times;
  std::vector<float> sum;
  for (const Size& size : kSizes) {
    sum.resize(static_cast<size_t>(size.floats));
    ExchangeTime best{size.floats, static_cast<double>(size.floats) * 4 * (ranks - 1), 0};
    for (int i = 0; i < kTries; ++i) {
      communicator.Barrier();
      const double start = Now();
      for (int r = 0; r < size.repeats; ++r) {
        std::fill_n(communicator.Window(size.floats), size.floats, 1.0f);
        parallel::SumTree(communicator.Exchange(size.floats), ranks, 0, size.floats, sum.data());
      }
      const double seconds = (Now() - start) / size.repeats;
      if (i == 0 || seconds < best.seconds) best.seconds = seconds;
    }
    FT_RETURN_IF_ERROR(communicator.status());
    times.push_back(best);
  }
  return FitExchange(std::move(times));
}

}  // namespace fusiontree::bench
