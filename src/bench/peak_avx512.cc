#include <immintrin.h>

#include "bench/peaks.h"

namespace fusiontree::bench {

double PeakFmaAvx512(int64_t rounds, float* sink) {
#if defined(__AVX512F__)
  constexpr int kChains = 16;
  __m512 acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = _mm512_fmadd_ps(acc[i], a, b);
  }
  __m512 sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = _mm512_add_ps(sum, acc[i]);
  *sink = _mm512_cvtss_f32(sum);
  return static_cast<double>(rounds) * kChains * 16 * 2;
#else
  (void)rounds;
  (void)sink;
  return 0;
#endif
}

}  // namespace fusiontree::bench
