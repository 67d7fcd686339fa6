// Attention over one split of keys (R4). A KV block is K as two panels of 32 keys, [d][32] each, then V as
// panels of 32 channels, [64 keys][32] each: both products run on the micro-kernel of the matrix products.
// Cost: 4 * rows * keys * d operations, each KV block read once for all rows of the tile.
#ifndef FUSIONTREE_KERNELS_SIMD_ATTENTION_H_
#define FUSIONTREE_KERNELS_SIMD_ATTENTION_H_

#include <string.h>

#include "kernels/simd_math.h"
#include "kernels/simd_pack.h"
#include "kernels/simd_tile.h"
#include "kernels/table.h"

namespace fusiontree::kernels {
namespace {

constexpr int64_t kQueryStride = kMaxHeadDim + 16;  // rows of a tile fall into different cache sets

// What a tile keeps: queries, scores (then p) and, of the rows that see nothing in a block, the accumulators.
struct AttentionScratch {
  float q[kAttentionRows * kQueryStride];
  float p[kAttentionRows * kKeyBlock];
  float saved[kTileRows * kMaxHeadDim];
  float factor[kAttentionRows];
  bool sees[kAttentionRows];
};
static_assert(sizeof(AttentionScratch) <= kScratchBytes);

template <typename Line, bool kBf16>
struct Attend {
  static constexpr int64_t kKeyPanels = kKeyBlock / kPanel;
  static constexpr int64_t Panels(int64_t d) { return (d + kPanel - 1) / kPanel; }
  static FT_INLINE int64_t KeyBytes(int64_t d) { return kKeyPanels * d * Line::kBytes; }
  static size_t BlockBytes(int64_t d) {
    return static_cast<size_t>(KeyBytes(d) + Panels(d) * kKeyBlock * Line::kBytes);
  }

  // Output `column` of a line, as stored.
  static FT_INLINE void Put(char* line, int64_t column, float value) {
    if constexpr (kBf16) {
      uint32_t bits;
      memcpy(&bits, &value, 4);
      const uint16_t high = static_cast<uint16_t>(bits >> 16);
      memcpy(line + 2 * Pack16<true>::Place(column), &high, 2);
    } else {
      memcpy(line + 4 * column, &value, 4);
    }
  }
  static FT_INLINE float Take(const char* line, int64_t column) {
    float value;
    if constexpr (kBf16) {
      uint16_t high;
      memcpy(&high, line + 2 * Pack16<true>::Place(column), 2);
      const uint32_t bits = static_cast<uint32_t>(high) << 16;
      memcpy(&value, &bits, 4);
    } else {
      memcpy(&value, line + 4 * column, 4);
    }
    return value;
  }
  static FT_INLINE char* KeyLine(char* block, int64_t slot, int64_t d, int64_t i) {
    return block + (slot / kPanel * d + i) * Line::kBytes;
  }
  static FT_INLINE char* ValueLine(char* block, int64_t slot, int64_t d, int64_t i) {
    return block + KeyBytes(d) + (i / kPanel * kKeyBlock + slot) * Line::kBytes;
  }
  static void Write(void* block, int64_t slot, int64_t d, const float* k, const float* v) {
    char* to = static_cast<char*>(block);
    float rounded[2][kMaxHeadDim];
    if constexpr (kBf16) {
      for (int64_t i = 0; i < d; i += 16) {
        Store(rounded[0] + i, RoundBf16(LoadN(k + i, d - i)));
        Store(rounded[1] + i, RoundBf16(LoadN(v + i, d - i)));
      }
      k = rounded[0];
      v = rounded[1];
    }
    for (int64_t i = 0; i < d; ++i) Put(KeyLine(to, slot, d, i), slot % kPanel, k[i]);
    for (int64_t i = 0; i < d; ++i) Put(ValueLine(to, slot, d, i), i % kPanel, v[i]);
  }
  static void ClearFrom(void* block, int64_t slot, int64_t d) {
    char* to = static_cast<char*>(block);
    for (int64_t s = slot; s < kKeyBlock; ++s) {
      for (int64_t i = 0; i < d; ++i) Put(KeyLine(to, s, d, i), s % kPanel, 0.0f);
      for (int64_t i = 0; i < d; ++i) Put(ValueLine(to, s, d, i), i % kPanel, 0.0f);
    }
  }
  static void Read(const void* block, int64_t slot, int64_t d, float* k, float* v) {
    char* from = static_cast<char*>(const_cast<void*>(block));
    for (int64_t i = 0; i < d; ++i) k[i] = Take(KeyLine(from, slot, d, i), slot % kPanel);
    for (int64_t i = 0; i < d; ++i) v[i] = Take(ValueLine(from, slot, d, i), i % kPanel);
  }

  // Keys [*begin, *end) of the block starting at `first` are visible to the query at `position`.
  static FT_INLINE void Visible(const AttentionArgs& a, int64_t position, int64_t first, int64_t* begin,
                                int64_t* end) {
    *end = position - first + 1 < kKeyBlock ? position - first + 1 : kKeyBlock;
    *begin = a.window != 0 && position - a.window + 1 > first ? position - a.window + 1 - first : 0;
  }

  // Scores of one row to p, in place; the row's running max and sum. Returns the factor of its accumulator.
  static FT_INLINE float Softmax(const AttentionArgs& a, int64_t begin, int64_t end, float* s, float* max,
                                 float* sum) {
    const V scale = Set(a.scale), low = Set(-__builtin_inff());
    const bool whole = begin <= 0 && end >= kKeyBlock;
    V x[4], top = low;
    FT_UNROLL
    for (int i = 0; i < 4; ++i) {
      x[i] = Mul(Load(s + 16 * i), scale);
      if (!whole) x[i] = Select(Lanes(begin - 16 * i, end - 16 * i), x[i], low);
      top = Max(x[i], top);
    }
    float block_max = MaxLanes(top);
    if (block_max == 0.0f) block_max = FirstZero(x);
    const float new_max = block_max > *max ? block_max : *max;
    const float factor = *max == -__builtin_inff() ? 0.0f : Exp(*max - new_max);
    const V by = Set(new_max);
    V lanes = Zero();
    FT_UNROLL
    for (int i = 0; i < 4; ++i) {
      V e = Exp(Sub(x[i], by));
      if (!whole) e = Select(Lanes(begin - 16 * i, end - 16 * i), e, Zero());
      lanes = Add(lanes, e);
      if constexpr (kBf16) e = RoundBf16(e);
      Store(s + 16 * i, e);
    }
    *sum = __builtin_fmaf(*sum, factor, SumLanes(lanes));
    *max = new_max;
    return factor;
  }
  // The maximum is zero: its sign is that of the first zero, as in the plain loop.
  static __attribute__((noinline)) float FirstZero(const V x[4]) {
    for (int i = 0; i < 4; ++i) {
      float lanes[16];
      Store(lanes, x[i]);
      for (int j = 0; j < 16; ++j)
        if (lanes[j] == 0.0f) return lanes[j];
    }
    return 0.0f;
  }

  static void Split(const AttentionArgs* args) {
    const AttentionArgs& a = *args;
    AttentionScratch& scratch = *static_cast<AttentionScratch*>(a.scratch);
    const int64_t rows = a.queries * a.heads;
    for (int64_t r = 0; r < rows; ++r) {
      const float* q = a.q + r / a.heads * a.q_stride + r % a.heads * a.d;
      for (int64_t i = 0; i < a.d; i += 16) {
        const V x = LoadN(q + i, a.d - i);
        Store(scratch.q + r * kQueryStride + i, kBf16 ? RoundBf16(x) : x);
      }
      a.max[r] = -__builtin_inff();
      a.sum[r] = 0.0f;
    }
    memset(a.acc, 0, static_cast<size_t>(rows * a.acc_stride) * sizeof(float));
    // Groups of nearly equal size use the registers best: 7 rows are 4 and 3.
    const int64_t groups = (rows + kTileRows - 1) / kTileRows, each = (rows + groups - 1) / groups;
    for (int64_t first = a.key_begin; first < a.key_end; first += kKeyBlock) {
      for (int64_t r = 0; r < rows; r += each) Group(a, scratch, r, rows - r < each ? rows - r : each, first);
    }
  }
  static FT_INLINE void Group(const AttentionArgs& a, AttentionScratch& scratch, int64_t row, int64_t rows,
                              int64_t first) {
    int64_t begin[kTileRows], end[kTileRows], seeing = 0;
    for (int64_t r = 0; r < rows; ++r) {
      Visible(a, a.first_position + (row + r) / a.heads, first, &begin[r], &end[r]);
      seeing += scratch.sees[r] = begin[r] < end[r];
    }
    if (seeing == 0) return;
    const char* block = static_cast<const char*>(a.blocks[first / kKeyBlock]);
    float* p = scratch.p;
    TileArgs t;
    t.k = a.d;
    t.c_stride = kKeyBlock;
    t.start = kFromZero;
    t.factor = scratch.factor;
    t.rows = scratch.q + row * kQueryStride;
    // The first group fetches the next block, panel by panel.
    const void* after = row == 0 && first + kKeyBlock < a.key_end ? a.blocks[first / kKeyBlock + 1] : nullptr;
    const char* fetch = after ? static_cast<const char*>(after) : block;
    t.fetch_step = after ? Line::kBytes / TilePasses(rows) : 0;
    t.next = nullptr;
    for (int64_t panel = 0; panel < kKeyPanels; ++panel) {
      t.lines = block + panel * a.d * Line::kBytes;
      t.fetch = fetch + (t.lines - block);
      t.c = p + panel * kPanel;
      TilePanel<Line, kQueryStride>(rows, t);
    }
    for (int64_t r = 0; r < rows; ++r) {
      float* acc = a.acc + (row + r) * a.acc_stride;
      if (scratch.sees[r]) {
        scratch.factor[r] = Softmax(a, begin[r], end[r], p + r * kKeyBlock, a.max + row + r, a.sum + row + r);
      } else {
        // Computed along with the others, and put back: left untouched by selection.
        scratch.factor[r] = 0.0f;
        memset(p + r * kKeyBlock, 0, kKeyBlock * sizeof(float));
        memcpy(scratch.saved + r * kMaxHeadDim, acc,
               static_cast<size_t>(Panels(a.d) * kPanel) * sizeof(float));
      }
    }
    t.k = kKeyBlock;
    t.c_stride = a.acc_stride;
    t.start = kFromScaled;
    t.rows = p;
    for (int64_t panel = 0; panel < Panels(a.d); ++panel) {
      t.lines = block + KeyBytes(a.d) + panel * kKeyBlock * Line::kBytes;
      t.fetch = fetch + (t.lines - block);
      t.c = a.acc + row * a.acc_stride + panel * kPanel;
      TilePanel<Line, kKeyBlock>(rows, t);
    }
    for (int64_t r = 0; r < rows; ++r) {
      if (scratch.sees[r]) continue;
      memcpy(a.acc + (row + r) * a.acc_stride, scratch.saved + r * kMaxHeadDim,
             static_cast<size_t>(Panels(a.d) * kPanel) * sizeof(float));
    }
  }
  static constexpr AttentionOps Ops() { return {BlockBytes, Write, ClearFrom, Read, Split}; }
};

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_ATTENTION_H_
