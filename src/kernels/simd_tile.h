// The micro-kernel of every contraction: R rows x 16 or 32 outputs, k ascending, one FMA per element and k,
// the accumulators in registers. Where a contraction is cut in k, they are stored and reloaded in fp32: same
// bits.
#ifndef FUSIONTREE_KERNELS_SIMD_TILE_H_
#define FUSIONTREE_KERNELS_SIMD_TILE_H_

#include "kernels/vec.h"

namespace fusiontree::kernels {
namespace {

// A line holds one k of a panel's 32 outputs; Get<0> is outputs 0-15, Get<1> 16-31.
struct LineBf16 {
  static constexpr int64_t kBytes = 64;
  template <int kHalf>
  static FT_INLINE V Get(const char* line) {
    if constexpr (kHalf == 0) {
      return Bf16Low(line);
    } else {
      return Bf16High(line);
    }
  }
};
struct LineF16 {
  static constexpr int64_t kBytes = 64;
  template <int kHalf>
  static FT_INLINE V Get(const char* line) {
    return LoadF16(line + 32 * kHalf);
  }
};
struct LineF32 {
  static constexpr int64_t kBytes = 128;
  template <int kHalf>
  static FT_INLINE V Get(const char* line) {
    return Load(reinterpret_cast<const float*>(line + 64 * kHalf));
  }
};

enum Start {
  kFromZero,
  kFromOut,
  kFromScaled
};  // what the accumulators begin with: 0, c, or c * factor[row]

struct TileArgs {
  const float* rows;  // activations
  const char* lines;  // first line of this cut
  int64_t k;          // lines
  float* c;           // [rows, c_stride]: output 0 of the panel
  int64_t c_stride;
  Start start;
  const float* factor;  // of kFromScaled
  const char* fetch;    // weights to fetch meanwhile, fetch_step bytes a line
  int64_t fetch_step;
  const float* next;  // packed activations to fetch meanwhile, as many as are used
};

// Activations: kRowStride = 0: packed group [k][kRows]; positive: row-major with that stride in floats;
// negative: a transposed matrix, -kRowStride floats from k to k.
template <typename Line, int kRows, int kHalf, int kVectors, int64_t kRowStride>
__attribute__((noinline)) void Tile(const TileArgs& t) {
  constexpr int64_t kStep = kRowStride == 0  ? kRows
                            : kRowStride > 0 ? 1
                                             : -kRowStride,
                    kNext = kRowStride > 0 ? kRowStride : 1;
  V acc[kRows][kVectors];
  float* const c = t.c + 16 * kHalf;
  FT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = t.start == kFromZero ? Zero() : Load(c + r * t.c_stride + 16 * v);
      if (t.start == kFromScaled) acc[r][v] = Mul(acc[r][v], SetFrom(t.factor + r));
    }
  }
  const float *a = t.rows, *next = t.next;
  const char *line = t.lines, *fetch = t.fetch;
  const int64_t step = t.fetch_step;
  const auto multiply = [&]() __attribute__((always_inline)) {
    V w[kVectors];
    w[0] = Line::template Get<kHalf>(line);
    if constexpr (kVectors == 2) w[1] = Line::template Get<1>(line);
    FT_UNROLL
    for (int v = 0; v < kVectors; ++v) Pin(w[v]);
    FT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V x = SetFrom(a + r * kNext);
      FT_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        acc[r][v] = Fma(x, w[v], acc[r][v]);
        Pin(acc[r][v]);
      }
    }
    line += Line::kBytes;
    a += kStep;
  };
  int64_t left = t.k;
  for (; left >= kUnroll; left -= kUnroll) {
    if (step <= 64 / kUnroll) {
      _mm_prefetch(fetch, _MM_HINT_T0);
    } else {
      FT_UNROLL
      for (int u = 0; u < kUnroll; ++u) _mm_prefetch(fetch + u * step, _MM_HINT_T0);
    }
    fetch += kUnroll * step;
    if constexpr (kRowStride == 0) {
      FT_UNROLL
      for (int u = 0; u < kUnroll * kRows; u += 16)
        _mm_prefetch(reinterpret_cast<const char*>(next + u), _MM_HINT_T0);
      next += kUnroll * kRows;
    }
    FT_UNROLL
    for (int u = 0; u < kUnroll; ++u) multiply();
  }
  for (; left > 0; --left) multiply();
  FT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FT_UNROLL
    for (int v = 0; v < kVectors; ++v) Store(c + r * t.c_stride + 16 * v, acc[r][v]);
  }
}

// One pass over a cut for `rows` <= kTileRows rows: the whole width, or one half of it (kHalf 0 or 1).
template <typename Line, int kHalf, int kVectors, int64_t kRowStride, int kRows = kTileRows>
FT_INLINE void TilePass(int64_t rows, const TileArgs& t) {
  if constexpr (kRows >= 1) {
    if (rows == kRows) return Tile<Line, kRows, kHalf, kVectors, kRowStride>(t);
    TilePass<Line, kHalf, kVectors, kRowStride, kRows - 1>(rows, t);
  }
}
// Passes that cover a panel's width for a group of so many rows.
FT_INLINE int64_t TilePasses(int64_t rows) { return kTileVectors == 2 || rows <= kWideTileRows ? 1 : 2; }
// The whole width of a panel for one group. The cut should fit the first-level cache.
template <typename Line, int64_t kRowStride>
FT_INLINE void TilePanel(int64_t rows, TileArgs& t) {
  if constexpr (kTileVectors == 2) {
    TilePass<Line, 0, 2, kRowStride>(rows, t);
  } else if (rows <= kWideTileRows) {
    TilePass<Line, 0, 2, kRowStride, kWideTileRows>(rows, t);
  } else {
    TilePass<Line, 0, 1, kRowStride>(rows, t);
    t.fetch += t.k * t.fetch_step;
    TilePass<Line, 1, 1, kRowStride>(rows, t);
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_TILE_H_
