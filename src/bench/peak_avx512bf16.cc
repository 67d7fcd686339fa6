#include <immintrin.h>

#include "bench/peaks.h"

namespace fusiontree::bench {

double PeakBf16Avx512(int64_t rounds, float* sink) {
#if defined(__AVX512BF16__)
  constexpr int kChains = 16;
  __m512 acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_setzero_ps();
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, a);
  }
  __m512 sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = _mm512_add_ps(sum, acc[i]);
  *sink = _mm512_cvtss_f32(sum);
  return static_cast<double>(rounds) * kChains * 32 * 2;
#else
  (void)rounds;
  (void)sink;
  return 0;
#endif
}

}  // namespace fusiontree::bench
