// Packing: weights into panels, activations into groups of rows, and one weight row back out. A panel is
// [k][32]: bf16 as u32 j = (output j low, output j + 16 high), f16 and fp32 in natural order. A slice needs
// no padding (the K-block is 1). All by 8 x 8 transposes of 32-bit elements, which is as wide as memory is
// fast.
#ifndef FUSIONTREE_KERNELS_SIMD_PACK_H_
#define FUSIONTREE_KERNELS_SIMD_PACK_H_

#include <string.h>

#include "kernels/table.h"
#include "kernels/vec.h"

namespace fusiontree::kernels {
namespace {

FT_INLINE void Transpose8(__m256i r[8]) {
  __m256i t[8], u[8];
  FT_UNROLL
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
  FT_UNROLL
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  FT_UNROLL
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
  }
}

FT_INLINE bool AnySet(__m256i mask) { return !_mm256_testz_si256(mask, mask); }

// 16-bit weights: two rows a u32 lane, rows j and j + 16 (bf16) or 2j and 2j + 1 (f16).
template <bool kBf16>
struct Pack16 {
  static constexpr uint16_t kExponent = kBf16 ? 0x7f80 : 0x7c00;
  static constexpr int64_t First(int64_t j) { return kBf16 ? j : 2 * j; }
  static constexpr int64_t Second(int64_t j) { return kBf16 ? j + 16 : 2 * j + 1; }
  static int64_t Place(int64_t row) { return kBf16 ? row % 16 * 2 + row / 16 : row; }  // u16 of a line

  // Whole panels, k in eights: returns the number of k packed.
  static int64_t Body(const char* source, size_t stride, int64_t k, uint16_t* panel, bool* finite) {
    const __m256i exponent = _mm256_set1_epi16(static_cast<short>(kExponent));
    __m256i bad = _mm256_setzero_si256();
    int64_t i = 0;
    for (; i + 8 <= k; i += 8) {
      FT_UNROLL
      for (int half = 0; half < 2; ++half) {
        __m256i r[8];
        FT_UNROLL
        for (int j = 0; j < 8; ++j) {
          const char* p = source + static_cast<size_t>(First(8 * half + j)) * stride + 2 * i;
          const char* q = source + static_cast<size_t>(Second(8 * half + j)) * stride + 2 * i;
          const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
          const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
          r[j] = _mm256_set_m128i(_mm_unpackhi_epi16(x, y), _mm_unpacklo_epi16(x, y));
          bad = _mm256_or_si256(bad, _mm256_cmpeq_epi16(_mm256_and_si256(r[j], exponent), exponent));
        }
        Transpose8(r);
        FT_UNROLL
        for (int j = 0; j < 8; ++j) {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(panel + (i + j) * kPanel + 16 * half), r[j]);
        }
      }
    }
    *finite = !AnySet(bad);
    return i;
  }
  static bool Run(const void* source, size_t stride, int64_t rows, int64_t k, int64_t, void* panel) {
    const char* in = static_cast<const char*>(source);
    uint16_t* out = static_cast<uint16_t*>(panel);
    bool finite = true;
    int64_t begin = 0;
    if (rows == kPanel) {
      begin = Body(in, stride, k, out, &finite);
    } else {
      memset(out, 0, static_cast<size_t>(k * kPanel) * 2);
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = begin; i < k; ++i) {
        uint16_t value;
        memcpy(&value, in + static_cast<size_t>(r) * stride + 2 * i, 2);
        finite = finite && (value & kExponent) != kExponent;
        out[i * kPanel + Place(r)] = value;
      }
    }
    return finite;
  }
};

struct Pack32 {
  static bool Run(const void* source, size_t stride, int64_t rows, int64_t k, int64_t, void* panel) {
    const char* in = static_cast<const char*>(source);
    uint32_t* out = static_cast<uint32_t*>(panel);
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    __m256i bad = _mm256_setzero_si256();
    int64_t begin = 0;
    if (rows == kPanel) {
      for (; begin + 8 <= k; begin += 8) {
        FT_UNROLL
        for (int part = 0; part < 4; ++part) {
          __m256i r[8];
          FT_UNROLL
          for (int j = 0; j < 8; ++j) {
            r[j] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(
                in + static_cast<size_t>(8 * part + j) * stride + 4 * begin));
            bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(_mm256_and_si256(r[j], exponent), exponent));
          }
          Transpose8(r);
          FT_UNROLL
          for (int j = 0; j < 8; ++j) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (begin + j) * kPanel + 8 * part), r[j]);
          }
        }
      }
    } else {
      memset(out, 0, static_cast<size_t>(k * kPanel) * 4);
    }
    bool finite = !AnySet(bad);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = begin; i < k; ++i) {
        uint32_t value;
        memcpy(&value, in + static_cast<size_t>(r) * stride + 4 * i, 4);
        finite = finite && (value & 0x7f800000u) != 0x7f800000u;
        out[i * kPanel + r] = value;
      }
    }
    return finite;
  }
};

// One row back: a line of 32 is read for each value, so this is for single rows (embeddings), not for panels.
template <typename Line, bool kPlain>
void UnpackRow(const void* panel, int64_t row, int64_t k, int64_t, float* out) {
  const char* line = static_cast<const char*>(panel);
  float widened[16];
  for (int64_t i = 0; i < k; ++i, line += Line::kBytes) {
    if constexpr (kPlain) {
      memcpy(out + i, line + 4 * row, 4);
    } else {
      Store(widened, row < 16 ? Line::template Get<0>(line) : Line::template Get<1>(line));
      out[i] = widened[row % 16];
    }
  }
}
// bf16 needs no vector: the bits move up by 16.
inline void UnpackRowBf16(const void* panel, int64_t row, int64_t k, int64_t, float* out) {
  const uint16_t* in = static_cast<const uint16_t*>(panel) + Pack16<true>::Place(row);
  for (int64_t i = 0; i < k; ++i) {
    const uint32_t bits = static_cast<uint32_t>(in[i * kPanel]) << 16;
    memcpy(out + i, &bits, 4);
  }
}

FT_INLINE float RoundOne(float x) {
  float lanes[16];
  Store(lanes, RoundBf16(Set(x)));
  return lanes[0];
}

// One group: x [rows, stride] to out [k][rows].
template <bool kRound>
void PackGroup(const float* x, int64_t stride, int64_t rows, int64_t k, float* out) {
  const int64_t parts = (rows + 7) / 8;
  int64_t i = 0;
  // Stores of eight run past a k's rows into the next k's, written after; so the last k are done singly.
  for (; rows > 1 && i + 8 <= k && (k - i - 8) * rows >= 8 * parts - rows; i += 8) {
    __m256i r[2][8];
    for (int64_t part = 0; part < parts; ++part) {
      FT_UNROLL
      for (int j = 0; j < 8; ++j) {
        const int64_t row = 8 * part + j;
        r[part][j] =
            row < rows ? _mm256_castps_si256(_mm256_loadu_ps(x + row * stride + i)) : _mm256_setzero_si256();
      }
      if constexpr (kRound) {
        for (int j = 0; j < 8; ++j) r[part][j] = RoundBf16Bits(r[part][j]);
      }
      Transpose8(r[part]);
    }
    for (int64_t j = 0; j < 8; ++j) {
      for (int64_t part = 0; part < parts; ++part) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (i + j) * rows + 8 * part), r[part][j]);
      }
    }
  }
  if (rows == 1) {
    for (; i + 16 <= k; i += 16) Store(out + i, kRound ? RoundBf16(Load(x + i)) : Load(x + i));
  }
  for (; i < k; ++i) {
    for (int64_t j = 0; j < rows; ++j) {
      const float value = x[j * stride + i];
      out[i * rows + j] = kRound ? RoundOne(value) : value;
    }
  }
}
template <bool kRound>
void PackRows(const float* x, int64_t stride, int64_t m, int64_t k, int64_t, int64_t group_begin,
              int64_t group_end, void* out) {
  for (int64_t g = group_begin; g < group_end; ++g) {
    const int64_t first = g * kTileRows, rows = m - first < kTileRows ? m - first : kTileRows;
    if (rows <= 0) return;
    PackGroup<kRound>(x + first * stride, stride, rows, k, static_cast<float*>(out) + first * k);
  }
}

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_PACK_H_
