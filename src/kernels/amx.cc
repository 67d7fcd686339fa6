// bf16 products by TDPBF16PS: per 32 k, even and odd products summed from zero inside the instruction, then
// added to the sum together.
//
// Micro-kernel: 32 rows x 32 outputs in a 2 x 2 of accumulator tiles (0-3), two tiles of activations (4, 5)
// and two of weights (6, 7): all eight. Per 32 k: 4 TDPBF16PS of 16 cycles each = 64 cycles, whose four
// chains cover the latency of 52; 4 KB of tile loads, 64 load slots of the 128 those cycles have. From the
// second-level cache 4 KB take about 70 cycles (180 GB/s a core measured), from the first-level cache 29: the
// operand that is used again, the group's, is the one that should be there.
#include "kernels/bf16_attention.h"
#include "kernels/bf16_matmul.h"
#include "kernels/bf16_variants.h"
#ifdef FUSIONTREE_EMULATE_AVX512
#include "kernels/emulate_amx.h"
#endif

namespace fusiontree::kernels {
namespace {
namespace bf16 {

// The compiler does not know what tile loads read.
FT_INLINE void Fence() { __asm__ volatile("" : : : "memory"); }

// Per thread, and only between Begin and End: tiles hold nothing in between (a thread that leaves them in use
// makes every context switch save 8 KB).
struct alignas(64) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t colsb[16];
  uint8_t rows[16];
};

struct Amx {
  static constexpr int64_t kRows = 32;
  static constexpr int64_t kBlock = 32;
  static constexpr int64_t kBlockRows = 512;  // their sums of a panel: 64 KB
  static constexpr int64_t kPanels =
      6;  // 768 KB of 2 MB; rows beyond that cache (29 GB/s) are read once for 192 outputs

  // Rows of the two row tiles, as configured on this thread; 0: nothing loaded.
  static inline thread_local int64_t first_rows = 0, second_rows = 0;

  // Activation and accumulator tiles of `first` and `second` rows (0: that row of tiles is not used).
  static FT_INLINE void Configure(int64_t first, int64_t second) {
    if (first != first_rows || second != second_rows) LoadConfig(first, second);
  }
  __attribute__((noinline)) static void LoadConfig(int64_t first, int64_t second) {
    TileConfig config = {};
    config.palette = 1;
    const int64_t rows[8] = {first, first, second, second, first, second, 16, 16};
    for (int t = 0; t < 8; ++t) {
      config.rows[t] = static_cast<uint8_t>(rows[t]);
      config.colsb[t] = rows[t] == 0 ? 0 : 64;
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    first_rows = first;
    second_rows = second;
  }
  static FT_INLINE void Begin() { first_rows = second_rows = 0; }
  // Up to 16 rows cost what they are; above, every tile is whole (the buffers are padded).
  static FT_INLINE void BeginAttention(int64_t rows) {
    Begin();
    if (rows <= 16) {
      Configure(rows, 0);
    } else {
      Configure(16, 16);
    }
  }
  static FT_INLINE void End() {
    _tile_release();
    Begin();
  }

  // c[16 or 32 rows][32] (+)= a * b over `blocks` of 32 k.
  struct Operands {
    const char *a, *a2;        // tiles of the first and of the second 16 rows
    int64_t a_stride, a_step;  // bytes from row to row, from 32 k to the next
    const char* b;             // panel
    int64_t blocks;
    float *c, *c2;
    int64_t c_stride;  // bytes
    bool from_c;
    const char* prefetch;
    int64_t prefetch_lines;
  };
  // Not inlined, so that the loop has the registers for itself.
  template <bool kTwo>
  __attribute__((noinline)) static void Tiles(const Operands& t) {
    const char *a = t.a, *a2 = t.a2, *b = t.b, *prefetch = t.prefetch;
    const int64_t a_stride = t.a_stride, a_step = t.a_step, c_stride = t.c_stride;
    const int64_t prefetch_lines = prefetch ? t.prefetch_lines : 0;
    Fence();
    if (t.from_c) {
      _tile_loadd(0, t.c, c_stride);
      _tile_loadd(1, t.c + 16, c_stride);
      if constexpr (kTwo) {
        _tile_loadd(2, t.c2, c_stride);
        _tile_loadd(3, t.c2 + 16, c_stride);
      }
    } else {
      _tile_zero(0);
      _tile_zero(1);
      if constexpr (kTwo) {
        _tile_zero(2);
        _tile_zero(3);
      }
    }
    for (int64_t blocks = t.blocks; blocks > 0; --blocks, a += a_step, b += kBlockBytes) {
      _tile_loadd(6, b, 64);
      _tile_loadd(4, a, a_stride);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + kTileBytes, 64);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_loadd(5, a2, a_stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        a2 += a_step;
      }
      Prefetch(prefetch, prefetch_lines);
      prefetch += 64 * prefetch_lines;
    }
    _tile_stored(0, t.c, c_stride);
    _tile_stored(1, t.c + 16, c_stride);
    if constexpr (kTwo) {
      _tile_stored(2, t.c2, c_stride);
      _tile_stored(3, t.c2 + 16, c_stride);
    }
    Fence();
  }

  // Packed rows: per 32 k, tile of the first 16 rows, tile of the rest, 64 bytes a row.
  static void Micro(const Cut& t) {
    const int64_t blocks = t.k / kBlockK, step = t.rows * 64;
    if (t.rows > 16) {
      Configure(16, t.rows - 16);
      Tiles<true>({t.a, t.a + kTileBytes, 64, step, t.b, blocks, t.c, t.c + 16 * 32, 128, t.from_c,
                   t.prefetch, t.prefetch_lines});
    } else {
      Configure(t.rows, 0);
      Tiles<false>(
          {t.a, nullptr, 64, step, t.b, blocks, t.c, nullptr, 128, t.from_c, t.prefetch, t.prefetch_lines});
    }
  }
  static void Pack(const float* x, int64_t stride, int64_t rows, int64_t k, char* out) {
    for (int64_t k0 = 0; k0 < k; k0 += kBlockK, out += rows * 64)
      for (int64_t r = 0; r < rows; ++r)
        _mm512_storeu_si512(out + r * 64, NarrowPairs(x + r * stride + k0, k - k0));
  }

  // Configured by BeginAttention: one row of tiles, or whole ones up to the padded rows.
  template <int64_t kRowStep>
  static void Multiply(const Contraction& t) {
    const int64_t blocks = t.k / kBlockK, c_stride = t.c_stride * 4;
    for (int64_t r = 0; r < t.rows; r += 32) {
      const char* a = t.a + r * kRowStep;
      float* c = t.c + r * t.c_stride;
      if (t.rows - r > 16) {
        Tiles<true>({a, a + 16 * kRowStep, kRowStep, 64, t.panel, blocks, c, c + 16 * t.c_stride, c_stride,
                     t.from_c, nullptr, 0});
      } else {
        Tiles<false>({a, nullptr, kRowStep, 64, t.panel, blocks, c, nullptr, c_stride, t.from_c, nullptr, 0});
      }
    }
  }
};

}  // namespace bf16

constinit const Bf16Ops kOps = {bf16::Product<bf16::Amx>::Ops(), bf16::Attention<bf16::Amx>::Ops()};

}  // namespace

const Bf16Ops* FUSIONTREE_BF16_OPS(AmxOps)() { return &kOps; }

}  // namespace fusiontree::kernels
