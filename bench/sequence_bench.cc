// The kernels of the state-space mixer at D = 1024, N = 16 on one thread, beside the fp32 FMA peak of that
// thread: scan and convolution in pieces of 64 rows, their decode step for 16 sequences, the functions of R6;
// and the backward of attention.
// Processor time, the best of many turns.
//
//   sequence_bench [VARIANT]
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "kernels/table.h"
#include "kernels/variants.h"

namespace fusiontree::kernels {
namespace {

double Now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
// Seconds of the quickest turn within about half a second.
double Best(const std::function<void()>& work) {
  work();
  double best = 1e9;
  for (const double begin = Now(); Now() - begin < 0.5;) {
    const double start = Now();
    work();
    best = std::min(best, Now() - start);
  }
  return best;
}

// Fused multiply-adds a second of eight lanes (AVX2) on one thread.
double FmaPeak() {
  constexpr int kRounds = 100000;
  static volatile float sink [[maybe_unused]];
  return 96.0 * kRounds / Best([] {
           __m256 x[12];
           for (__m256& v : x) v = _mm256_set1_ps(1.0f);
           const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
           for (int j = 0; j < kRounds; ++j) {
#pragma GCC unroll 12
             for (int v = 0; v < 12; ++v) x[v] = _mm256_fmadd_ps(x[v], a, b);
           }
           for (int v = 1; v < 12; ++v) x[0] = _mm256_add_ps(x[0], x[v]);
           sink = _mm256_cvtss_f32(x[0]);
         });
}

struct Floats {
  float* p;
  explicit Floats(int64_t n, float base = 0.5f, float step = 0.001f)
      : p(static_cast<float*>(aligned_alloc(64, static_cast<size_t>(n) * 4))) {
    for (int64_t i = 0; i < n; ++i) p[i] = base + step * static_cast<float>(i % 997 - 498);
  }
};

// One block of 64 keys, two heads: 512 later queries that see all of it, or what a window of 64 sees.
void AttentionBackward(const Table& table, double peak) {
  constexpr int64_t kHeads = 2, kQueries = 512;
  for (const int64_t d : {10, 32, 64, 80, 128}) {
    const int64_t row = kHeads * d;
    const Floats k(64 * d), v(64 * d), dk(64 * d), dv(64 * d), q(kQueries * row), dout(kQueries * row),
        dq(kQueries * row), statistics(kQueries * kHeads, 1.0f), scratch(kScratchBytes / 4);
    for (const int64_t window : {0, 64}) {
      const int64_t queries = window ? 127 : kQueries;
      AttentionBackwardArgs g = {};
      g.k = k.p;
      g.v = v.p;
      g.kv_stride = g.dkv_stride = g.d = d;
      g.keys = 64;
      g.q = q.p;
      g.dout = dout.p;
      g.q_stride = g.dout_stride = g.dq_stride = row;
      g.max = g.inverse_sum = g.dot = statistics.p;
      g.statistics_stride = g.heads = kHeads;
      g.queries = queries;
      g.first_position = window ? 0 : 64;
      g.window = window;
      g.scale = 0.1f;
      g.dq = dq.p;
      g.dk = dk.p;
      g.dv = dv.p;
      g.scratch = scratch.p;
      const double t = Best([&] { table.backward->attention(&g); }),
                   pairs = static_cast<double>(window ? 64 * 64 : queries * 64) * kHeads;
      std::printf("attention backward, d %3ld, %s: %5.3f us a query and head, %.2f of the fma peak\n",
                  static_cast<long>(d), window ? "window 64" : "all seen ",
                  t * 1e6 / static_cast<double>((window ? 64 : queries) * kHeads),
                  pairs * 5 * static_cast<double>(d) / peak / t);
    }
  }
}

constexpr int64_t kD = 1024, kN = 16, kRows = 64;

void Run(const Table& table) {
  const double peak = FmaPeak();
  std::printf("fma peak %.1f G multiply-adds/s (eight lanes)\n", peak * 1e-9);
  AttentionBackward(table, peak);
  const Floats x(kRows * kD), z(kRows * kD), delta(kRows * kD, 0.05f, 0.00009f), bc(kRows * 2 * kN), skip(kD),
      weight(8 * kD), out(kRows * kD), a(kN * kD, -12.0f, 0.02f);
  Floats state(kN * kD, 0.0f, 0.0f);
  for (const int64_t n : {8, 16, 32}) {
    if (n > kN) break;
    const ScanArgs g = {x.p, delta.p, z.p,     kD, kD,    kD, bc.p, bc.p + n, 2 * n, a.p,
                        kD,  skip.p,  state.p, kD, kRows, n,  0,    kD,       out.p, kD};
    const double t = Best([&] { table.scan(&g); }) / kRows;
    // Three multiplications and seven fused multiply-adds a state.
    std::printf("scan, n %2ld: %6.3f us a token, %4.2f of the FMA issue slots\n", static_cast<long>(n),
                t * 1e6, static_cast<double>(kD * n) * 10 / peak / t);
  }
  for (const int64_t width : {4, 3}) {
    const ConvArgs g = {x.p, kD, z.p, kD, weight.p, kD, skip.p, kRows, width, 0, kD, kConvSilu, out.p, kD};
    const double t = Best([&] { table.conv(&g); }) / kRows;
    std::printf("conv, width %ld: %6.3f us a token\n", static_cast<long>(width), t * 1e6);
  }
  {
    const Floats grads(6 * kRows * kD), sums(2 * kD / kScanGroup * kRows * kN),
        rates(3 * kN * kD, 0.0f, 0.001f), scratch((kRows * (kN + 1) + 4 * kN) * kScanGroup),
        old(kN * kD, 0.0f, 0.001f);
    const int64_t piece = kRows * kD;
    ScanBackwardArgs g = {};
    g.forward = {x.p, delta.p, z.p,   kD, kD,    kD, bc.p, bc.p + kN, 2 * kN,  a.p,
                 kD,  skip.p,  old.p, kD, kRows, kN, 0,    kD,        nullptr, 0};
    g.dout = grads.p;
    g.dx = grads.p + piece;
    g.ddelta = grads.p + 2 * piece;
    g.dz = grads.p + 3 * piece;
    g.dout_stride = g.dx_stride = g.ddelta_stride = g.dz_stride = kD;
    g.db = sums.p;
    g.dc = sums.p + kD / kScanGroup * kRows * kN;
    g.dbc_stride = kN;
    g.group_stride = kRows * kN;
    g.da = rates.p;
    g.dstate = rates.p + kN * kD;
    g.dskip = rates.p + 2 * kN * kD;
    g.da_stride = g.dstate_stride = kD;
    g.scratch = scratch.p;
    std::printf("scan backward, n %ld: %6.3f us a token\n", static_cast<long>(kN),
                Best([&] { table.backward->scan(&g); }) / kRows * 1e6);
    const ConvArgs forward = {x.p, kD, z.p, kD, weight.p, kD, skip.p, kRows, 4, 0, kD, kConvSilu, nullptr, 0};
    const ConvBackwardArgs c = {forward, grads.p, kD, grads.p + piece,
                                kD,      rates.p, kD, rates.p + 2 * kN * kD};
    std::printf("conv backward, width 4: %6.3f us a token\n",
                Best([&] { table.backward->conv(&c); }) / kRows * 1e6);
  }
  static constexpr const char* kNames[kFunctions] = {"silu", "gelu", "tanh", "sigmoid", "softplus"};
  for (int f = 0; f < kFunctions; ++f) {
    const double t = Best([&] { table.apply[f](x.p, kRows * kD, out.p); });
    std::printf("%-8s: %6.3f us for 1024\n", kNames[f], t * 1e6 / kRows);
  }
  {  // decode: 16 sequences of 24 layers, each with its own state; the rates are the layer's
    constexpr int64_t kSequences = 16, kLayers = 24;
    const Floats states(kSequences * kLayers * kN * kD, 0.0f, 0.0f), rates(kLayers * kN * kD, -12.0f, 0.02f);
    const double t = Best([&] {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        for (int64_t s = 0; s < kSequences; ++s) {
          const ScanArgs g = {x.p,
                              delta.p,
                              z.p,
                              kD,
                              kD,
                              kD,
                              bc.p,
                              bc.p + kN,
                              2 * kN,
                              rates.p + layer * kN * kD,
                              kD,
                              skip.p,
                              states.p + (s * kLayers + layer) * kN * kD,
                              kD,
                              1,
                              kN,
                              0,
                              kD,
                              out.p,
                              kD};
          table.scan(&g);
        }
      }
    });
    const double bytes = static_cast<double>(kSequences * kLayers * kN * kD) * 8;
    const double touch = Best([&] {  // the same bytes, read and written in order
      const __m256 factor = _mm256_set1_ps(0.5f);
      for (float* p = states.p; p < states.p + kSequences * kLayers * kN * kD; p += 8) {
        _mm256_store_ps(p, _mm256_mul_ps(_mm256_load_ps(p), factor));
      }
    });
    std::printf(
        "decode of 16: %6.3f us a sequence and layer, %.1f GB/s of state read and written, %.2f of the "
        "memory's\n",
        t * 1e6 / (kSequences * kLayers), bytes / t * 1e-9, touch / t);
  }
}

}  // namespace
}  // namespace fusiontree::kernels

int main(int argc, char** argv) {
  using namespace fusiontree::kernels;  // NOLINT
  const Variant* variant = argc > 1 ? Find(argv[1]) : &Best();
  if (variant == nullptr || !variant->missing.empty()) {
    std::fprintf(stderr, "sequence_bench: %s: %s\n", argv[1],
                 variant ? variant->missing.c_str() : "no such variant");
    return 2;
  }
  _mm_setcsr(0x9fc0);
  std::printf("variant %s\n", variant->name);
  Run(*variant->table);
}
