#include "bench/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>

#include "bench/peaks.h"
#include "kernels/cpu.h"
#include "tensor/buffer.h"

namespace fusiontree::bench {
namespace {

constexpr size_t kPeaks = 4;
constexpr int kTries = 5;
constexpr double kWindow = 0.03;  // seconds of one try

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

using PeakLoop = double (*)(int64_t rounds, float* sink);

double MeasurePeak(base::ThreadPool& pool, PeakLoop loop) {
  std::vector<float> sinks(static_cast<size_t>(pool.size()) * 16);  // a cache line each
  std::vector<double> done(sinks.size());
  const auto run = [&](int64_t rounds) {
    const double start = Now();
    pool.Run([&](int thread) {
      const size_t slot = static_cast<size_t>(thread) * 16;
      done[slot] = loop(rounds, &sinks[slot]);
    });
    return Now() - start;
  };
  int64_t rounds = 1024;
  while (run(rounds) < kWindow) rounds *= 2;
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const double seconds = run(rounds);
    double flops = 0;
    for (int thread = 0; thread < pool.size(); ++thread) flops += done[static_cast<size_t>(thread) * 16];
    best = std::max(best, flops / seconds);
  }
  return best;
}

base::Result<double> MeasureBandwidth(base::ThreadPool& pool, size_t buffer_bytes) {
  FT_ASSIGN_OR_RETURN(tensor::Buffer buffer, tensor::Buffer::Create(buffer_bytes));
  constexpr int64_t kUnit = 64 * 8;  // of the most streams
  const auto share = [&](int thread) {
    return base::Share(static_cast<int64_t>(buffer_bytes) / kUnit, 1, thread, pool.size());
  };
  // Each thread touches first what it will read.
  pool.Run([&](int thread) {
    const base::Range range = share(thread);
    std::memset(buffer.data() + range.begin * kUnit, thread + 1,
                static_cast<size_t>((range.end - range.begin) * kUnit));
  });
  std::vector<uint64_t> sums(static_cast<size_t>(pool.size()) * 8);
  double best = 0;
  for (const int streams : {1, 2, 4, 8}) {
    for (int i = 0; i < kTries; ++i) {
      const double start = Now();
      pool.Run([&](int thread) {
        const base::Range range = share(thread);
        sums[static_cast<size_t>(thread) * 8] =
            ReadStreams(buffer.data() + range.begin * kUnit,
                        static_cast<size_t>((range.end - range.begin) * kUnit), streams);
      });
      best = std::max(best, static_cast<double>(buffer_bytes) / (Now() - start));
    }
  }
  return best;
}

}  // namespace

double Limits::FlopsFor(const std::string& isa, bool bf16) const {
  double best = 0;
  for (const Peak& peak : peaks) {
    const bool own = peak.isa == isa && peak.bf16 == bf16;
    // Products in fp32 on the wide variants are those of avx512; bf16 weights widened in avx2 and avx512 are
    // fp32 FMAs.
    const bool wide =
        peak.isa == "avx512" && (isa == "avx512" || ((isa == "avx512bf16" || isa == "amx") && !bf16));
    const bool narrow = peak.isa == "avx2" && isa == "avx2";
    if (own || wide || narrow) best = std::max(best, peak.flops);
  }
  return best;
}

void Limits::Raise(const Limits& other) {
  bandwidth = std::max(bandwidth, other.bandwidth);
  for (size_t i = 0; i < peaks.size(); ++i) peaks[i].flops = std::max(peaks[i].flops, other.peaks[i].flops);
}

namespace {

// `meet` is called before each part.
base::Result<Limits> Measure(base::ThreadPool& pool, size_t buffer_bytes, const std::function<void()>& meet) {
  Limits limits;
  limits.processor = ProcessorName();
  limits.threads = pool.size();
  meet();
  FT_ASSIGN_OR_RETURN(limits.bandwidth, MeasureBandwidth(pool, buffer_bytes));
  const kernels::Cpu& cpu = kernels::ThisCpu();
  struct Entry {
    const char* name;
    const char* isa;
    bool bf16, there;
    PeakLoop loop;
  };
  const Entry entries[kPeaks] = {{"fp32 FMA, AVX2", "avx2", false, cpu.avx2, PeakFmaAvx2},
                                 {"fp32 FMA, AVX-512", "avx512", false, cpu.avx512, PeakFmaAvx512},
                                 {"bf16, AVX512-BF16", "avx512bf16", true, cpu.avx512bf16, PeakBf16Avx512},
                                 {"bf16, AMX", "amx", true, cpu.amx, PeakBf16Amx}};
  for (const Entry& entry : entries) {
    Peak peak{.name = entry.name, .isa = entry.isa, .bf16 = entry.bf16};
    meet();
    if (entry.there)
      peak.flops = MeasurePeak(pool, entry.loop);
    else
      peak.missing = "this processor does not have it";
    limits.peaks.push_back(std::move(peak));
  }
  return limits;
}

}  // namespace

base::Result<Limits> MeasureLimits(base::ThreadPool& pool, size_t buffer_bytes) {
  return Measure(pool, buffer_bytes, [] {});
}

base::Result<Limits> MeasureLimitsOnRanks(parallel::Communicator& communicator, base::ThreadPool& pool,
                                          size_t buffer_bytes) {
  base::Result<Limits> mine = Measure(pool, buffer_bytes, [&] { communicator.Barrier(); });
  if (!mine.ok()) communicator.Fail(mine.status());
  // The peaks are the same list everywhere.
  std::vector<double> values = {mine.ok() ? mine->bandwidth : 0, static_cast<double>(pool.size())};
  for (size_t i = 0; i < kPeaks; ++i) values.push_back(mine.ok() ? mine->peaks[i].flops : 0);
  std::vector<double> all(values.size() * static_cast<size_t>(communicator.size()));
  communicator.AllGather(values.data(), values.size() * sizeof(double), all.data());
  FT_RETURN_IF_ERROR(communicator.status());
  FT_RETURN_IF_ERROR(mine.status());
  mine->bandwidth = 0;
  mine->threads = 0;
  for (Peak& peak : mine->peaks) peak.flops = 0;
  for (size_t at = 0; at < all.size(); at += values.size()) {
    mine->bandwidth += all[at];
    mine->threads += static_cast<int>(all[at + 1]);
    for (size_t i = 0; i < kPeaks; ++i) mine->peaks[i].flops += all[at + 2 + i];
  }
  return mine;
}

}  // namespace fusiontree::bench
