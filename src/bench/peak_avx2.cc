#include <immintrin.h>

#include "bench/peaks.h"

namespace fusiontree::bench {

double PeakFmaAvx2(int64_t rounds, float* sink) {
#if defined(__AVX2__) && defined(__FMA__)
  constexpr int kChains = 12;  // latency 4 x two units = 8 in flight; 12 of 16 registers
  __m256 acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = _mm256_fmadd_ps(acc[i], a, b);
  }
  __m256 sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = _mm256_add_ps(sum, acc[i]);
  *sink = _mm256_cvtss_f32(sum);
  return static_cast<double>(rounds) * kChains * 8 * 2;
#else
  (void)rounds;
  (void)sink;
  return 0;
#endif
}

}  // namespace fusiontree::bench
