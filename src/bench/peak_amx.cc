#include <immintrin.h>

#include "bench/peaks.h"

namespace fusiontree::bench {

double PeakBf16Amx(int64_t rounds, float* sink) {
#if defined(__AMX_TILE__) && defined(__AMX_BF16__)
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  alignas(64) static const uint16_t zeros[16 * 32] = {};
  for (int i = 0; i < 8; ++i) {
    config.bytes[i] = 64;
    config.rows[i] = 16;
  }
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, zeros, 64);
  _tile_loadd(5, zeros, 64);
  _tile_loadd(6, zeros, 64);
  _tile_loadd(7, zeros, 64);
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float out[16 * 16];
  _tile_stored(0, out, 64);
  _tile_release();
  *sink = out[0];
  return static_cast<double>(rounds) * 4 * 16 * 16 * 32 * 2;
#else
  (void)rounds;
  (void)sink;
  return 0;
#endif
}

}  // namespace fusiontree::bench
