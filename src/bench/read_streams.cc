#include "bench/peaks.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fusiontree::bench {
namespace {

#if defined(__SSE2__)
template <int kStreams>
uint64_t Read(const char* data, size_t bytes) {
  const size_t part = bytes / kStreams;
  __m128i sum[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
  for (size_t at = 0; at < part; at += 64) {
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      const __m128i* line = reinterpret_cast<const __m128i*>(data + static_cast<size_t>(s) * part + at);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[i] = _mm_xor_si128(sum[i], _mm_load_si128(line + i));
    }
  }
  const __m128i all = _mm_xor_si128(_mm_xor_si128(sum[0], sum[1]), _mm_xor_si128(sum[2], sum[3]));
  alignas(16) uint64_t out[2];
  _mm_store_si128(reinterpret_cast<__m128i*>(out), all);
  return out[0] ^ out[1];
}
#else
template <int kStreams>
uint64_t Read(const char* data, size_t bytes) {
  const size_t part = bytes / kStreams / sizeof(uint64_t);
  const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
  uint64_t sum = 0;
  for (size_t at = 0; at < part; ++at)
    for (int s = 0; s < kStreams; ++s) sum ^= words[static_cast<size_t>(s) * part + at];
  return sum;
}
#endif

}  // namespace

uint64_t ReadStreams(const void* data, size_t bytes, int streams) {
  const char* bytes_data = static_cast<const char*>(data);
  switch (streams) {
    case 8:
      return Read<8>(bytes_data, bytes);
    case 4:
      return Read<4>(bytes_data, bytes);
    case 2:
      return Read<2>(bytes_data, bytes);
    default:
      return Read<1>(bytes_data, bytes);
  }
}

}  // namespace fusiontree::bench
