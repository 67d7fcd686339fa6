// bf16 products by VDPBF16PS: per pair of k, acc + odd product, then + even product, each one rounding.
//
// Micro-kernel: 12 rows x 32 outputs, 24 accumulators + 2 weights + 1 activation of 32 registers. Per pair of
// k: 24 VDPBF16PS, 2 loads, 12 broadcasts. Zen 5 issues 2 of the first (latency 6: 24 chains cover 12) and 2
// loads a cycle: 12 cycles, 7 of them loading; an embedded broadcast would need 26 loads, 13 cycles. Intel
// issues one a cycle at most. A pair takes 128 bytes of weights in 12 cycles: 11 bytes a cycle from the
// second-level cache.
#include "kernels/bf16_attention.h"
#include "kernels/bf16_matmul.h"
#include "kernels/bf16_variants.h"

namespace fusiontree::kernels {
namespace {
namespace bf16 {

struct Dpbf16 {
  static constexpr int64_t kRows = 12;
  static constexpr int64_t kBlock = 2;
  static constexpr int64_t kBlockRows =
      528;  // a prefill of 512 reads the weights once; sums of a panel: 66 KB
  static constexpr int64_t kPanels =
      4;  // 512 KB of Zen 5's 1 MB; a group's rows are read once for 128 outputs

  static FT_INLINE void Begin() {}
  static FT_INLINE void BeginAttention(int64_t) {}
  static FT_INLINE void End() {}

  static FT_INLINE __m512i Broadcast(const char* p) {
    int32_t word;
    memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
  }

  // One pair of k: activations `step` bytes from row to row.
  template <int kR>
  static FT_INLINE void Pair(const char* a, int64_t step, const char* b, V acc[kR][2]) {
    const __m512bh low = (__m512bh)_mm512_loadu_si512(b), high = (__m512bh)_mm512_loadu_si512(b + kTileBytes);
    FT_UNROLL
    for (int r = 0; r < kR; ++r) {
      const __m512bh x = (__m512bh)Broadcast(a + r * step);
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], x, low);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], x, high);
    }
  }

  // Rows kR x 32 outputs. Activations: pair i of row r at a + i * pair_step + r * row_step; the steps are
  // constants of the caller, so that they become displacements.
  template <int kR, int64_t kPairStep, int64_t kRowStep>
  static FT_INLINE void Tile(const char* a, const char* b, int64_t k, float* c, int64_t c_stride, bool from_c,
                             const char* prefetch, int64_t prefetch_lines) {
    V acc[kR][2];
    FT_UNROLL
    for (int r = 0; r < kR; ++r) {
      acc[r][0] = from_c ? Load(c + r * c_stride) : Zero();
      acc[r][1] = from_c ? Load(c + r * c_stride + 16) : Zero();
    }
    for (; k >= kBlockK; k -= kBlockK, b += kBlockBytes) {
      if (prefetch) {
        Prefetch(prefetch, prefetch_lines);
        prefetch += 64 * prefetch_lines;
      }
      for (int i = 0; i < 16; ++i, a += kPairStep) Pair<kR>(a, kRowStep, b + 64 * i, acc);
    }
    for (; k > 0; k -= 2, a += kPairStep, b += 64) Pair<kR>(a, kRowStep, b, acc);
    FT_UNROLL
    for (int r = 0; r < kR; ++r) {
      Store(c + r * c_stride, acc[r][0]);
      Store(c + r * c_stride + 16, acc[r][1]);
    }
  }

  // Packed rows: [k / 2][rows] pairs.
  template <int kR>
  __attribute__((noinline)) static void Rows(const Cut& t) {
    Tile<kR, kR * 4, 4>(t.a, t.b, t.k, t.c, 32, t.from_c, t.prefetch, t.prefetch_lines);
  }
  template <int kR = kRows>
  static FT_INLINE void Micro(const Cut& t) {
    if constexpr (kR >= 1) {
      if (t.rows == kR) return Rows<kR>(t);
      Micro<kR - 1>(t);
    }
  }

  static void Pack(const float* x, int64_t stride, int64_t rows, int64_t k, char* out) {
    for (int64_t k0 = 0; k0 < k; k0 += kBlockK, out += 64 * rows) {
      const int64_t pairs = k - k0 < kBlockK ? (k - k0 + 1) / 2 : 16;
      if (rows == 1) {
        _mm512_mask_storeu_epi32(out, static_cast<__mmask16>(LowWords(pairs)), NarrowPairs(x + k0, k - k0));
        continue;
      }
      __m512i v[16];
      FT_UNROLL
      for (int r = 0; r < 16; ++r)
        v[r] = r < rows ? NarrowPairs(x + r * stride + k0, k - k0) : _mm512_setzero_si512();
      Transpose(v);
      const __mmask16 lanes = static_cast<__mmask16>(LowWords(rows));
      for (int64_t i = 0; i < pairs; ++i) _mm512_mask_storeu_epi32(out + i * rows * 4, lanes, v[i]);
    }
  }

  // Row-major activations of attention.
  template <int kR, int64_t kRowStep>
  __attribute__((noinline)) static void RowMajor(const Contraction& t) {
    Tile<kR, 4, kRowStep>(t.a, t.panel, t.k, t.c, t.c_stride, t.from_c, nullptr, 0);
  }
  template <int64_t kRowStep, int kR = kRows>
  static FT_INLINE void Dispatch(int64_t rows, const Contraction& t) {
    if constexpr (kR >= 1) {
      if (rows == kR) return RowMajor<kR, kRowStep>(t);
      Dispatch<kRowStep, kR - 1>(rows, t);
    }
  }
  template <int64_t kRowStep>
  static void Multiply(Contraction t) {
    for (int64_t left = t.rows; left > 0; left -= kRows, t.a += kRows * kRowStep, t.c += kRows * t.c_stride)
      Dispatch<kRowStep>(left < kRows ? left : kRows, t);
  }
};

}  // namespace bf16

constinit const Bf16Ops kOps = {bf16::Product<bf16::Dpbf16>::Ops(), bf16::Attention<bf16::Dpbf16>::Ops()};

}  // namespace

const Bf16Ops* FUSIONTREE_BF16_OPS(Avx512Bf16Ops)() { return &kOps; }

}  // namespace fusiontree::kernels
