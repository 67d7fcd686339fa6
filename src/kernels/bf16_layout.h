// How avx512bf16 and amx hold bf16 operands; one layout for both.
//
// Panel: per slice of R2, K padded to 32; per 32 k a block of 2 KB: two tiles of 1 KB, outputs 0-15 and
// 16-31, each [16 k-pairs][16 outputs][2]: a tile is an AMX operand, a row of it a VDPBF16PS one. KV block of
// head size d: K as two panels of 32 keys with K = d, then V as ceil(d / 32) panels of 32 channels with K =
// 64 keys. Packed rows: groups of Kernel::kRows rows (the last may be short), 2 bytes * rows a k; see each
// kernel.
#ifndef FUSIONTREE_KERNELS_BF16_LAYOUT_H_
#define FUSIONTREE_KERNELS_BF16_LAYOUT_H_

#include <string.h>

#include "kernels/simd_math.h"
#include "kernels/table.h"

namespace fusiontree::kernels {

namespace {
namespace bf16 {

constexpr int64_t kBlockK = 32;                          // k of a block
constexpr int64_t kTileBytes = 1024;                     // 16 pairs x 16 outputs
constexpr int64_t kBlockBytes = 2048;                    // two tiles
constexpr int64_t kBytesPerK = 64;                       // of a panel
constexpr int64_t kValueBytes = kKeyBlock * kBytesPerK;  // of one panel of V

FT_INLINE int64_t Up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Offset of element (k, output 0..31) from the start of a slice of a panel.
FT_INLINE int64_t At(int64_t k, int64_t output) {
  return k / kBlockK * kBlockBytes + output / 16 * kTileBytes + k % kBlockK / 2 * 64 + output % 16 * 4 +
         k % 2 * 2;
}

// Sixteen floats rounded to nearest even; the same integer steps as every variant (VCVTNEPS2BF16 would flush
// denormals before rounding).
FT_INLINE __m256i Narrow(V v) {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(RoundBf16(v)), 16));
}
// Thirty-two floats, those past n read as zero, as 16 pairs.
FT_INLINE __m512i NarrowPairs(const float* x, int64_t n) {
  if (n >= 32) return _mm512_inserti64x4(_mm512_castsi256_si512(Narrow(Load(x))), Narrow(Load(x + 16)), 1);
  const V low = LoadN(x, n < 16 ? n : 16), high = n > 16 ? LoadN(x + 16, n - 16) : Zero();
  return _mm512_inserti64x4(_mm512_castsi256_si512(Narrow(low)), Narrow(high), 1);
}

// Rows of 16 words become columns: v[i] lane j = old v[j] lane i. 64 shuffles.
FT_INLINE void Transpose(__m512i v[16]) {
  __m512i a[16], b[16];
  FT_UNROLL
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
  FT_UNROLL
  for (int g = 0; g < 16; g += 4) {  // b[g + c], quarter q: column 4q + c of rows g..g+3
    b[g] = _mm512_unpacklo_epi64(a[g], a[g + 2]);
    b[g + 1] = _mm512_unpackhi_epi64(a[g], a[g + 2]);
    b[g + 2] = _mm512_unpacklo_epi64(a[g + 1], a[g + 3]);
    b[g + 3] = _mm512_unpackhi_epi64(a[g + 1], a[g + 3]);
  }
  FT_UNROLL
  for (int c = 0; c < 4; ++c) {
    const __m512i even_low = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x88);
    const __m512i even_high = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xdd);
    const __m512i odd_high = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xdd);
    v[c] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    v[8 + c] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    v[4 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    v[12 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
}

// Lanes begin <= i < end of 32 words of 16 bits.
FT_INLINE __mmask32 LowWords(int64_t n) {
  return n >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((uint64_t{1} << (n < 0 ? 0 : n)) - 1);
}

inline size_t PanelBytes(int64_t k, int64_t slices) {
  return static_cast<size_t>(slices * Up(k / slices, kBlockK) * kBytesPerK);
}

// Cost: reads and writes each byte once, about 100 cycles a tile: memory-bound.
inline bool PackWeight(const void* source, size_t row_stride, int64_t rows, int64_t k, int64_t slices,
                       void* panel) {
  const int64_t slice_k = k / slices;
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __mmask32 bad = 0;
  char* out = static_cast<char*>(panel);
  for (int64_t s = 0; s < slices; ++s) {
    for (int64_t k0 = 0; k0 < slice_k; k0 += kBlockK) {
      const __mmask32 mask = LowWords(slice_k - k0);
      const char* from = static_cast<const char*>(source) + (s * slice_k + k0) * 2;
      for (int64_t first = 0; first < 32; first += 16, out += kTileBytes) {
        __m512i v[16];
        FT_UNROLL
        for (int r = 0; r < 16; ++r) {
          v[r] = _mm512_setzero_si512();
          if (first + r < rows) {
            v[r] = _mm512_maskz_loadu_epi16(mask, from + static_cast<size_t>(first + r) * row_stride);
          }
          bad |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(v[r], exponent), exponent);
        }
        Transpose(v);
        FT_UNROLL
        for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + 64 * i, v[i]);
      }
    }
  }
  return bad == 0;
}

FT_INLINE float Widen(const char* at) {
  uint16_t word;
  memcpy(&word, at, 2);
  const uint32_t bits = static_cast<uint32_t>(word) << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

inline void UnpackRow(const void* panel, int64_t row, int64_t k, int64_t slices, float* out) {
  const char* in = static_cast<const char*>(panel);
  const int64_t slice_k = k / slices;
  for (int64_t s = 0; s < slices; ++s, in += Up(slice_k, kBlockK) * kBytesPerK)
    for (int64_t i = 0; i < slice_k; ++i) out[s * slice_k + i] = Widen(in + At(i, row));
}

}  // namespace bf16
}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_BF16_LAYOUT_H_
