// AMX tiles in plain loops, for tests (emulate_avx512.h): state per thread, and the configuration checked as
// the processor checks it: what would fault there aborts here.
#ifndef FUSIONTREE_KERNELS_EMULATE_AMX_H_
#define FUSIONTREE_KERNELS_EMULATE_AMX_H_

#include <stdio.h>
#include <stdlib.h>

#include "kernels/emulate_avx512.h"

namespace {
namespace emulated {

struct TileState {
  uint8_t palette, rows[8], colsb[8];
  uint8_t bytes[8][16][64];
};
static thread_local TileState tiles = {};

static inline void TileCheck(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "AMX emulation: %s\n", what);
  abort();
}
static inline void TileInUse(int t) {
  TileCheck(tiles.palette == 1, "no tile configuration loaded (#UD)");
  TileCheck(t >= 0 && t < 8 && tiles.rows[t] != 0, "tile not configured (#UD)");
}

// 64 bytes: palette, start row, 14 reserved, colsb as 16 words, rows as 16 bytes.
static inline void tile_loadconfig(const void* config) {
  uint8_t b[64];
  memcpy(b, config, 64);
  TileCheck(b[0] <= 1, "palette above 1 (#GP)");
  TileCheck(b[1] == 0, "start row not 0: rows would be skipped");
  for (int i = 2; i < 16; ++i) TileCheck(b[i] == 0, "reserved byte not 0 (#GP)");
  tiles = {};
  if (b[0] == 0) return;
  for (int t = 0; t < 16; ++t) {
    const int colsb = b[16 + 2 * t] | b[17 + 2 * t] << 8, rows = b[48 + t];
    TileCheck(colsb <= 64 && rows <= 16, "tile larger than 16 rows of 64 bytes (#GP)");
    TileCheck((colsb == 0) == (rows == 0), "rows and colsb must both be 0 or neither (#GP)");
    TileCheck(t < 8 || rows == 0, "only eight tiles (#GP)");
    if (t < 8) {
      tiles.rows[t] = static_cast<uint8_t>(rows);
      tiles.colsb[t] = static_cast<uint8_t>(colsb);
    }
  }
  tiles.palette = 1;
}
static inline void tile_release() { tiles = {}; }
static inline void tile_zero(int t) {
  TileInUse(t);
  memset(tiles.bytes[t], 0, sizeof(tiles.bytes[t]));
}
static inline void tile_loadd(int t, const void* base, int64_t stride) {
  tile_zero(t);
  for (int r = 0; r < tiles.rows[t]; ++r)
    memcpy(tiles.bytes[t][r], static_cast<const char*>(base) + r * stride, tiles.colsb[t]);
}
static inline void tile_stored(int t, void* base, int64_t stride) {
  TileInUse(t);
  for (int r = 0; r < tiles.rows[t]; ++r)
    memcpy(static_cast<char*>(base) + r * stride, tiles.bytes[t][r], tiles.colsb[t]);
}

// One row of TDPBF16PS: even and odd products summed from zero over the pairs of k, both added to c at once.
// As Dpbf16, it runs under the MXCSR that flushes denormals, its operands in memory.
__attribute__((noinline)) static void TileRow(float* c, int columns, const uint32_t* a, int pairs,
                                              const uint8_t (*b)[64]) {
  const unsigned saved = _mm_getcsr(), flushing = 0x9fc0;
  __asm__ volatile("ldmxcsr %0" : : "m"(flushing) : "memory");
  float even[16] = {}, odd[16] = {};
  for (int k = 0; k < pairs; ++k) {
    const float a0 = Cast<float>(a[k] << 16), a1 = Cast<float>(a[k] & 0xffff0000u);
    uint32_t line[16];
    memcpy(line, b[k], 64);
    for (int n = 0; n < columns; ++n) {
      even[n] = __builtin_fmaf(a0, Cast<float>(line[n] << 16), even[n]);
      odd[n] = __builtin_fmaf(a1, Cast<float>(line[n] & 0xffff0000u), odd[n]);
    }
  }
  for (int n = 0; n < columns; ++n) c[n] = c[n] + (even[n] + odd[n]);
  __asm__ volatile("ldmxcsr %0" : : "m"(saved) : "memory");
}
static inline void tile_dpbf16ps(int c, int a, int b) {
  TileInUse(c);
  TileInUse(a);
  TileInUse(b);
  TileCheck(c != a && c != b && a != b, "the three tiles must differ (#UD)");
  TileCheck(tiles.colsb[c] % 4 == 0 && tiles.colsb[a] % 4 == 0 && tiles.colsb[b] % 4 == 0,
            "colsb not a multiple of 4 (#UD)");
  TileCheck(tiles.rows[c] == tiles.rows[a], "rows of sums and left operand differ (#UD)");
  TileCheck(tiles.colsb[c] == tiles.colsb[b], "columns of sums and right operand differ (#UD)");
  TileCheck(tiles.colsb[a] / 4 == tiles.rows[b], "pairs of left and right operand differ (#UD)");
  for (int m = 0; m < tiles.rows[c]; ++m) {
    float sums[16];
    uint32_t left[16];
    memcpy(sums, tiles.bytes[c][m], 64);
    memcpy(left, tiles.bytes[a][m], 64);
    TileRow(sums, tiles.colsb[c] / 4, left, tiles.colsb[a] / 4, tiles.bytes[b]);
    memcpy(tiles.bytes[c][m], sums, 64);
  }
}

}  // namespace emulated
}  // namespace

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated::tile_loadconfig
#define _tile_release emulated::tile_release
#define _tile_zero emulated::tile_zero
#define _tile_loadd emulated::tile_loadd
#define _tile_stored emulated::tile_stored
#define _tile_dpbf16ps emulated::tile_dpbf16ps

#endif  // FUSIONTREE_KERNELS_EMULATE_AMX_H_
