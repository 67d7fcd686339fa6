// The kernels against the machine's limits, on the shapes of a 0.5B model (hidden 896, MLP 4864): read
// bandwidth and fp32 FMA peak are measured first, each result carries its ratio to the one that binds. Two
// threads.
//
// Weights rotate through an arena larger than any cache, in huge pages. Times are the best of the iterations.
// On a shared machine set KERNELS_BENCH_CPU_TIME: then they are the processor time of the slower thread.
//
//   kernels_bench [VARIANT] [--benchmark_filter=...]
#include <benchmark/benchmark.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/table.h"
#include "kernels/variants.h"

namespace fusiontree::kernels {
namespace {

constexpr int kThreads = 2;
constexpr size_t kArena = size_t{768} << 20;

const bool g_cpu_time = std::getenv("KERNELS_BENCH_CPU_TIME") != nullptr;

double Now() {
  if (g_cpu_time) {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A second thread that spins for work; the caller is the first.
class Duo {
 public:
  Duo() : helper_([this] { Loop(); }) { _mm_setcsr(0x9fc0); }
  ~Duo() {
    stop_ = true;
    ++ticket_;
    helper_.join();
  }
  double Run(const std::function<void(int)>& work) {
    work_ = &work;
    const int ticket = ++ticket_;
    const double start = Now();
    work(0);
    const double mine = Now() - start;
    while (done_.load() != ticket) std::this_thread::yield();
    return g_cpu_time ? std::max(mine, other_) : Now() - start;
  }

 private:
  void Loop() {
    _mm_setcsr(0x9fc0);
    for (int seen = 0;;) {
      while (ticket_.load() == seen) std::this_thread::yield();
      seen = ticket_.load();
      if (stop_) return;
      const double start = Now();
      (*work_)(1);
      other_ = Now() - start;
      done_ = seen;
    }
  }
  std::atomic<int> ticket_{0}, done_{0};
  std::atomic<bool> stop_{false};
  const std::function<void(int)>* work_ = nullptr;
  double other_ = 0;  // the helper's time
  std::thread helper_;
};
Duo& Threads() {
  static Duo duo;
  return duo;
}

char* Huge(size_t bytes) {
  bytes = (bytes + (2u << 20) - 1) >> 21 << 21;
  char* p = static_cast<char*>(aligned_alloc(2u << 20, bytes));
  madvise(p, bytes, MADV_HUGEPAGE);
  memset(p, 0, bytes);
  return p;
}
char* Arena() {
  static char* const arena = [] {
    char* p = Huge(kArena);
    // bf16 and fp32 values near 1 in magnitude, never special.
    uint32_t z = 1;
    for (size_t i = 0; i < kArena / 4; ++i) {
      z = z * 1664525u + 1013904223u;
      const uint32_t bits = 0x3f003f00u | (z & 0x80ff80ffu);
      memcpy(p + 4 * i, &bits, 4);
    }
    return p;
  }();
  return arena;
}

// Eight streams a thread, 64 bytes from each in turn.
double Bandwidth() {
  static double best = 0;
  char* arena = Arena();
  static std::atomic<int> sink{0};
  for (int i = 0; i < 12; ++i) {
    const double t = Threads().Run([&](int thread) {
      const size_t share = kArena / kThreads, stream = share / 8;
      const char* base = arena + share * static_cast<size_t>(thread);
      __m256i x[8] = {};
      for (size_t at = 0; at < stream; at += 64) {
        for (size_t s = 0; s < 8; ++s) {
          const char* p = base + s * stream + at;
          _mm_prefetch(p + 2048, _MM_HINT_T0);
          x[s] = _mm256_or_si256(
              x[s], _mm256_or_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)),
                                    _mm256_load_si256(reinterpret_cast<const __m256i*>(p + 32))));
        }
      }
      for (int s = 1; s < 8; ++s) x[0] = _mm256_or_si256(x[0], x[s]);
      sink += _mm256_extract_epi32(x[0], 0);
    });
    best = std::max(best, static_cast<double>(kArena) / t);
  }
  return best;
}

double FmaPeak() {
  static double best = 0;
  static std::atomic<int> sink{0};
  for (int i = 0; i < 12; ++i) {
    constexpr int kRounds = 1000000;
    const double t = Threads().Run([&](int) {
      __m256 x[12];
      for (__m256& v : x) v = _mm256_set1_ps(1.0f);
      const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
      for (int j = 0; j < kRounds; ++j) {
#pragma GCC unroll 12
        for (int v = 0; v < 12; ++v) x[v] = _mm256_fmadd_ps(x[v], a, b);
      }
      for (int v = 1; v < 12; ++v) x[0] = _mm256_add_ps(x[0], x[v]);
      sink += static_cast<int>(_mm256_cvtss_f32(x[0]));
    });
    best = std::max(best, 2.0 * 8 * 12 * kRounds * kThreads / t);
  }
  return best;
}

const Table* g_table = nullptr;

// Best time over the iterations, with the limits measured next to it.
void Report(benchmark::State& state, double best, double bytes, double flops) {
  const double bandwidth = Bandwidth(), peak = FmaPeak();
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["GFLOP/s"] = flops / best * 1e-9;
  state.counters["of_bandwidth"] = bytes / best / bandwidth;
  state.counters["of_peak"] = flops / best / peak;
  state.counters["of_limit"] = std::max(bytes / bandwidth, flops / peak) / best;
}

void Limits(benchmark::State& state) {
  for (auto _ : state) state.SetIterationTime(1e-3);
  state.counters["GB/s"] = Bandwidth() * 1e-9;
  state.counters["GFLOP/s"] = FmaPeak() * 1e-9;
}

void Product(benchmark::State& state, MatrixKind kind, Epilogue epilogue) {
  const MatrixOps& ops = g_table->matrix[kind];
  const int64_t m = state.range(0), k = state.range(1), n = state.range(2), slices = state.range(3);
  const int64_t panels = n / 32, groups = (m + ops.rows_per_group - 1) / ops.rows_per_group;
  const size_t bytes = ops.panel_bytes(k, slices) * static_cast<size_t>(panels);
  char* rows = Huge(ops.rows_bytes(m, k, slices) + 64);
  float* x = reinterpret_cast<float*>(Huge(static_cast<size_t>(m * k) * 4));
  float* out = reinterpret_cast<float*>(Huge(static_cast<size_t>(m * n) * 4));
  for (int64_t i = 0; i < m * k; ++i) x[i] = static_cast<float>(i % 31) - 15.0f;
  char* scratch = Huge(kThreads * kScratchBytes);
  ops.pack_rows(x, k, m, k, slices, 0, groups, rows);
  size_t at = 0;
  double best = 1e9;
  for (auto _ : state) {
    if (at + bytes > kArena) at = 0;
    const char* weight = Arena() + at;
    const double t = Threads().Run([&](int thread) {
      const int64_t pairs = panels / 2;
      const MatmulArgs a = {rows,
                            m,
                            0,
                            groups,
                            weight,
                            k,
                            slices,
                            pairs * thread / kThreads * 2,
                            thread == kThreads - 1 ? panels : pairs * (thread + 1) / kThreads * 2,
                            epilogue,
                            nullptr,
                            out,
                            n,
                            scratch + kScratchBytes * static_cast<size_t>(thread)};
      ops.matmul(&a);
    });
    best = std::min(best, t);
    state.SetIterationTime(t);
    at += (bytes + 4095) / 4096 * 4096;
  }
  Report(state, best, static_cast<double>(bytes), 2.0 * static_cast<double>(m * k * n));
  free(rows);
  free(x);
  free(out);
  free(scratch);
}

void PackRows(benchmark::State& state) {
  const MatrixOps& ops = g_table->matrix[kBf16Bf16];
  const int64_t m = state.range(0), k = state.range(1),
                groups = (m + ops.rows_per_group - 1) / ops.rows_per_group;
  char* rows = Huge(ops.rows_bytes(m, k, 1) + 64);
  float* x = reinterpret_cast<float*>(Huge(static_cast<size_t>(m * k) * 4));
  double best = 1e9;
  for (auto _ : state) {
    const double t = Threads().Run([&](int thread) {
      ops.pack_rows(x, k, m, k, 1, groups * thread / kThreads, groups * (thread + 1) / kThreads, rows);
    });
    best = std::min(best, t);
    state.SetIterationTime(t);
  }
  Report(state, best, static_cast<double>(m * k) * 8, 0);
  free(rows);
  free(x);
}

// Half the arena packed into the other half.
void PackWeight(benchmark::State& state, MatrixKind kind) {
  const MatrixOps& ops = g_table->matrix[kind];
  const int64_t k = state.range(0);
  const size_t panel = ops.panel_bytes(k, 1), row = panel / 32;
  const int64_t panels = static_cast<int64_t>(kArena / 2 / panel);
  static char* const target = Huge(kArena / 2);
  double best = 1e9;
  for (auto _ : state) {
    std::atomic<bool> finite{true};
    const double t = Threads().Run([&](int thread) {
      for (int64_t p = panels * thread / kThreads; p < panels * (thread + 1) / kThreads; ++p) {
        const size_t offset = static_cast<size_t>(p) * panel;
        if (!ops.pack_weight(Arena() + offset, row, 32, k, 1, target + offset)) finite = false;
      }
    });
    if (!finite) state.SkipWithError("not finite");
    best = std::min(best, t);
    state.SetIterationTime(t);
  }
  Report(state, best, static_cast<double>(panel) * static_cast<double>(panels), 0);
}

// `tiles` tiles (head groups) a thread, each against its own `keys` keys, in splits.
void Attention(benchmark::State& state, AttentionKind kind) {
  const AttentionOps& ops = g_table->attention[kind];
  const int64_t queries = state.range(0), heads = state.range(1), d = state.range(2), keys = state.range(3);
  const size_t block = ops.block_bytes(d), history = block * static_cast<size_t>(keys / kKeyBlock);
  const size_t histories = kArena / history;
  const int64_t rows = queries * heads, stride = (d + 31) / 32 * 32, tiles = queries == 1 ? 24 : 4;
  struct Local {
    std::vector<float> q, max, sum, acc, max2, sum2, acc2;
    std::vector<const void*> blocks;
    char* scratch;
  } local[kThreads];
  for (Local& l : local) {
    const size_t n = static_cast<size_t>(rows), wide = static_cast<size_t>(rows * stride);
    l.q.assign(static_cast<size_t>(rows * d), 0.01f);
    l.max.assign(n, 0);
    l.sum = l.max2 = l.sum2 = l.max;
    l.acc.assign(wide, 0);
    l.acc2 = l.acc;
    l.scratch = Huge(kScratchBytes);
  }
  size_t next = 0;
  double best = 1e9;
  for (auto _ : state) {
    const double t = Threads().Run([&](int thread) {
      Local& l = local[thread];
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const size_t which = (next + static_cast<size_t>(tile * kThreads + thread)) % histories;
        l.blocks.clear();
        for (int64_t b = 0; b < keys / kKeyBlock; ++b)
          l.blocks.push_back(Arena() + which * history + static_cast<size_t>(b) * block);
        std::fill(l.sum.begin(), l.sum.end(), 0.0f);
        for (int64_t begin = 0; begin < keys; begin += kSplitKeys) {
          const AttentionArgs a = {l.blocks.data(),
                                   begin,
                                   std::min(keys, begin + kSplitKeys),
                                   l.q.data(),
                                   heads * d,
                                   queries,
                                   heads,
                                   d,
                                   keys - queries,
                                   0,
                                   0.125f,
                                   l.max2.data(),
                                   l.sum2.data(),
                                   l.acc2.data(),
                                   stride,
                                   l.scratch};
          ops.split(&a);
          g_table->attention_merge(rows, d, stride, l.max.data(), l.sum.data(), l.acc.data(), l.max2.data(),
                                   l.sum2.data(), l.acc2.data());
        }
      }
    });
    next += static_cast<size_t>(tiles * kThreads);
    best = std::min(best, t);
    state.SetIterationTime(t);
  }
  const double count = static_cast<double>(tiles * kThreads);
  Report(state, best, count * static_cast<double>(history),
         count * 4.0 * static_cast<double>(rows * d * keys));
  for (Local& l : local) free(l.scratch);
}

void Register() {
  benchmark::RegisterBenchmark("limits", Limits)->UseManualTime()->Iterations(1);
  const struct {
    const char* name;
    MatrixKind kind;
  } kinds[] = {{"bf16", kBf16Bf16}, {"f16", kF16F32}, {"f32", kF32F32}};
  const struct {
    int64_t k, n, slices;
    Epilogue epilogue;
    const char* name;
  } shapes[] = {{896, 1152, 1, kStore, "qkv"},
                {896, 896, 2, kAdd, "o"},
                {896, 9728, 1, kSiluMul, "gate_up"},
                {4864, 896, 2, kAdd, "down"},
                {896, 151936, 1, kStore, "head"}};
  for (const auto& kind : kinds) {
    for (const auto& s : shapes) {
      for (const int64_t m : {1, 4, 16, 512}) {
        if (s.n > 100000 && (m > 16 || kind.kind == kF32F32)) continue;
        const std::string name = std::string("matmul/") + kind.name + "/" + s.name;
        benchmark::RegisterBenchmark(name.c_str(), Product, kind.kind, s.epilogue)
            ->Args({m, s.k, s.n, s.slices})
            ->UseManualTime()
            ->MinTime(0.3);
      }
    }
  }
  benchmark::RegisterBenchmark("pack_rows", PackRows)
      ->Args({512, 896})
      ->Args({16, 896})
      ->Args({1, 896})
      ->Args({512, 4864})
      ->UseManualTime()
      ->MinTime(0.2);
  benchmark::RegisterBenchmark("pack_weight/bf16", PackWeight, kBf16Bf16)
      ->Arg(896)
      ->Arg(4864)
      ->UseManualTime()
      ->MinTime(0.5);
  benchmark::RegisterBenchmark("pack_weight/f32", PackWeight, kF32F32)
      ->Arg(896)
      ->UseManualTime()
      ->MinTime(0.5);
  for (const auto& [name, kind] : {std::pair<const char*, AttentionKind>{"attention/bf16", kAttentionBf16},
                                   {"attention/f32", kAttentionF32}}) {
    benchmark::RegisterBenchmark(name, Attention, kind)
        ->Args({1, 7, 64, 8192})
        ->Args({1, 4, 128, 8192})
        ->Args({1, 1, 64, 8192})
        ->Args({1, 6, 64, 8192})
        ->Args({1, 8, 128, 8192})
        ->Args({9, 7, 64, 512})
        ->Args({9, 7, 64, 8192})
        ->Args({64, 1, 128, 2048})
        ->UseManualTime()
        ->MinTime(0.3);
  }
}

}  // namespace
}  // namespace fusiontree::kernels

int main(int argc, char** argv) {
  using namespace fusiontree::kernels;  // NOLINT
  const Variant* variant = &Best();
  if (argc > 1 && argv[1][0] != '-') {
    variant = Find(argv[1]);
    if (variant == nullptr || !variant->missing.empty()) {
      std::fprintf(stderr, "kernels_bench: %s: %s\n", argv[1],
                   variant ? variant->missing.c_str() : "no such variant");
      return 2;
    }
    std::swap(argv[1], argv[0]);
    --argc;
    ++argv;
  }
  g_table = variant->table;
  std::printf("variant %s\n", variant->name);
  Arena();  // made here, not within the first measurement
  Register();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
