#include <gtest/gtest.h>

#include "bench/exchange_bench.h"
#include "bench/limits.h"
#include "bench/model_bench.h"
#include "bench/peaks.h"
#include "kernels/cpu.h"
#include "parallel/local.h"

namespace fusiontree::bench {
namespace {

TEST(Peaks, CountWhatTheyDo) {
  float sink = 0;
  const kernels::Cpu& cpu = kernels::ThisCpu();
  if (cpu.avx2) {
    EXPECT_EQ(PeakFmaAvx2(10, &sink), 10.0 * 12 * 8 * 2);
  }
  if (cpu.avx512) {
    EXPECT_EQ(PeakFmaAvx512(10, &sink), 10.0 * 16 * 16 * 2);
  }
  if (cpu.avx512bf16) {
    EXPECT_EQ(PeakBf16Avx512(10, &sink), 10.0 * 16 * 32 * 2);
  }
  if (cpu.amx) {
    EXPECT_EQ(PeakBf16Amx(10, &sink), 10.0 * 4 * 16 * 16 * 32 * 2);
  }
}

TEST(ReadStreams, EveryByteIsRead) {
  constexpr size_t kBytes = 64 * 8 * 3;
  alignas(64) static unsigned char data[kBytes];
  for (const int streams : {1, 2, 4, 8}) {
    for (size_t at = 0; at < kBytes; at += 37) {
      const uint64_t before = ReadStreams(data, kBytes, streams);
      data[at] ^= 1;
      EXPECT_NE(ReadStreams(data, kBytes, streams), before) << streams << " streams, byte " << at;
      data[at] ^= 1;
    }
  }
}

TEST(Limits, EachVariantIsHeldAgainstItsOwnPeak) {
  Limits limits;
  limits.peaks = {{.name = "", .isa = "avx2", .bf16 = false, .flops = 1},
                  {.name = "", .isa = "avx512", .bf16 = false, .flops = 2},
                  {.name = "", .isa = "avx512bf16", .bf16 = true, .flops = 4},
                  {.name = "", .isa = "amx", .bf16 = true, .flops = 8}};
  EXPECT_EQ(limits.FlopsFor("avx2", true), 1);
  EXPECT_EQ(limits.FlopsFor("avx512", true), 2);
  EXPECT_EQ(limits.FlopsFor("avx512bf16", true), 4);
  EXPECT_EQ(limits.FlopsFor("avx512bf16", false), 2);
  EXPECT_EQ(limits.FlopsFor("amx", true), 8);
  EXPECT_EQ(limits.FlopsFor("amx", false), 2);
  EXPECT_EQ(limits.FlopsFor("ref", true), 0);
}

TEST(Limits, AreTheMostThatWasSeen) {
  Limits limits, other;
  limits.bandwidth = 3;
  limits.peaks = {{.isa = "avx2", .flops = 1}, {.isa = "amx", .flops = 8}};
  other.bandwidth = 2;
  other.peaks = {{.isa = "avx2", .flops = 5}, {.isa = "amx", .flops = 4}};
  limits.Raise(other);
  EXPECT_EQ(limits.bandwidth, 3);
  EXPECT_EQ(limits.peaks[0].flops, 5);
  EXPECT_EQ(limits.peaks[1].flops, 8);
}

TEST(Limits, AreMeasuredOrSaidToBeMissing) {
  base::ThreadPool pool(2);
  const auto limits = MeasureLimits(pool, size_t{4} << 20);
  ASSERT_TRUE(limits.ok());
  EXPECT_GT(limits->bandwidth, 0);
  EXPECT_EQ(limits->peaks.size(), 4u);
  for (const Peak& peak : limits->peaks) EXPECT_NE(peak.flops > 0, !peak.missing.empty()) << peak.name;
}

TEST(Exchange, TheFitFindsTheLineThatMadeTheTimes) {
  std::vector<ExchangeTime> times;
  for (const double bytes : {256.0, 4096.0, 1e6, 4e6}) times.push_back({0, bytes, 3e-6 + bytes / 8e9});
  const ExchangeFit fit = FitExchange(times);
  EXPECT_NEAR(fit.latency, 3e-6, 1e-9);
  EXPECT_NEAR(fit.bytes_per_second, 8e9, 1e6);
  EXPECT_LT(fit.worst, 1e-6);
}

TEST(Exchange, IsMeasuredOnEveryRankAndLimitsAreSummed) {
  double one = 0;
  EXPECT_TRUE(parallel::RunRanks(2, [&](parallel::Communicator& communicator) -> base::Status {
                FT_ASSIGN_OR_RETURN(const ExchangeFit fit, MeasureExchange(communicator));
                EXPECT_GT(fit.times.back().seconds, 0);
                EXPECT_EQ(fit.times.back().bytes, 4.0 * 1048576);
                base::ThreadPool pool(1);
                FT_ASSIGN_OR_RETURN(const Limits limits,
                                    MeasureLimitsOnRanks(communicator, pool, size_t{1} << 22));
                EXPECT_EQ(limits.threads, 2);
                if (communicator.rank() == 0) one = limits.bandwidth;
                return base::OkStatus();
              }).ok());
  EXPECT_GT(one, 0);
}

}  // namespace
}  // namespace fusiontree::bench
