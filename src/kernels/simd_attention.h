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

// What a tile keeps: queries, scores (then p) and, of the rows that see nothing in a block, a panel of the
// accumulators.
struct AttentionScratch {
  float q[kAttentionRows * kQueryStride];
  float p[kAttentionRows * kKeyBlock];
  float saved[kTileRows * kPanel];
  float factor[kAttentionRows];
  int64_t begin[kAttentionRows], end[kAttentionRows];  // visible keys of the block
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

  // Scores of one row, scaled and in place, those out of sight -infinity; returns their maximum.
  static FT_INLINE float Scale(const AttentionArgs& a, int64_t begin, int64_t end, float* s) {
    const V scale = Set(a.scale), low = Set(-__builtin_inff());
    const bool whole = begin <= 0 && end >= kKeyBlock;
    V x[4], top = low;
    FT_UNROLL
    for (int i = 0; i < 4; ++i) {
      x[i] = Mul(Load(s + 16 * i), scale);
      if (!whole) x[i] = Select(Lanes(begin - 16 * i, end - 16 * i), x[i], low);
      top = Max(x[i], top);
      Store(s + 16 * i, x[i]);
    }
    const float block_max = MaxLanes(top);
    return block_max == 0.0f ? FirstZero(s) : block_max;
  }
  // Scaled scores of one row to p, in place; returns the sum of the unrounded p.
  static FT_INLINE float Probabilities(int64_t begin, int64_t end, float max, float* s) {
    const V by = Set(max);
    const bool whole = begin <= 0 && end >= kKeyBlock;
    V lanes = Zero();
    FT_UNROLL
    for (int i = 0; i < 4; ++i) {
      V e = Exp(Sub(Load(s + 16 * i), by));
      if (!whole) e = Select(Lanes(begin - 16 * i, end - 16 * i), e, Zero());
      lanes = Add(lanes, e);
      if constexpr (kBf16) e = RoundBf16(e);
      Store(s + 16 * i, e);
    }
    return SumLanes(lanes);
  }
  // The maximum is zero: its sign is that of the first zero, as in the plain loop.
  static __attribute__((noinline)) float FirstZero(const float* s) {
    for (int64_t j = 0; j < kKeyBlock; ++j)
      if (s[j] == 0.0f) return s[j];
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
    for (int64_t first = a.key_begin; first < a.key_end; first += kKeyBlock) Block(a, scratch, rows, first);
  }
  // One block: scores panel by panel for all groups, p of all rows, then the values likewise, so that a panel
  // is in the first-level cache while the groups pass.
  static FT_INLINE void Block(const AttentionArgs& a, AttentionScratch& scratch, int64_t rows,
                              int64_t first) {
    int64_t seeing = 0;
    for (int64_t r = 0; r < rows; ++r) {
      Visible(a, a.first_position + r / a.heads, first, &scratch.begin[r], &scratch.end[r]);
      seeing += scratch.sees[r] = scratch.begin[r] < scratch.end[r];
    }
    if (seeing == 0) return;
    const char* block = static_cast<const char*>(a.blocks[(first - a.key_begin) / kKeyBlock]);
    // Groups of nearly equal size use the registers best: 7 rows are 4 and 3.
    const int64_t groups = (rows + kTileRows - 1) / kTileRows, each = (rows + groups - 1) / groups;
    // Meanwhile the next block is fetched, panel by panel.
    const void* after =
        first + kKeyBlock < a.key_end ? a.blocks[(first - a.key_begin) / kKeyBlock + 1] : nullptr;
    TileArgs t;
    t.fetch_step = after ? Line::kBytes / (groups * TilePasses(each)) + 1 : 0;
    t.next = nullptr;
    t.k = a.d;
    t.c_stride = kKeyBlock;
    t.start = kFromZero;
    t.factor = nullptr;
    for (int64_t panel = 0; panel < kKeyPanels; ++panel) {
      t.lines = block + panel * a.d * Line::kBytes;
      t.fetch = (after ? static_cast<const char*>(after) : block) + (t.lines - block);
      for (int64_t r = 0; r < rows; r += each) {
        t.rows = scratch.q + r * kQueryStride;
        t.c = scratch.p + r * kKeyBlock + panel * kPanel;
        TilePanel<Line, kQueryStride>(rows - r < each ? rows - r : each, t);
        t.fetch += t.k * t.fetch_step;
      }
    }
    Softmax(a, scratch, rows);
    t.k = kKeyBlock;
    t.c_stride = a.acc_stride;
    t.start = kFromScaled;
    for (int64_t panel = 0; panel < Panels(a.d); ++panel) {
      t.lines = block + KeyBytes(a.d) + panel * kKeyBlock * Line::kBytes;
      t.fetch = (after ? static_cast<const char*>(after) : block) + (t.lines - block);
      for (int64_t r = 0; r < rows; r += each) {
        const int64_t n = rows - r < each ? rows - r : each;
        t.rows = scratch.p + r * kKeyBlock;
        t.c = a.acc + r * a.acc_stride + panel * kPanel;
        t.factor = scratch.factor + r;
        Values(a, scratch, r, n, t);
        t.fetch += t.k * t.fetch_step;
      }
    }
  }
  // Running max and sum of all rows, and the factor of each accumulator.
  static FT_INLINE void Softmax(const AttentionArgs& a, AttentionScratch& scratch, int64_t rows) {
    float fall[kAttentionRows] = {};
    for (int64_t r = 0; r < rows; ++r) {
      if (!scratch.sees[r]) continue;
      const float block_max = Scale(a, scratch.begin[r], scratch.end[r], scratch.p + r * kKeyBlock);
      const float max = a.max[r];
      a.max[r] = block_max > max ? block_max : max;
      // From nothing the factor is 0, which exp of a low number is too.
      fall[r] = max == -__builtin_inff() ? -1e30f : max - a.max[r];
    }
    for (int64_t r = 0; r < rows; r += 16) Store(scratch.factor + r, Exp(Load(fall + r)));
    for (int64_t r = 0; r < rows; ++r) {
      float* p = scratch.p + r * kKeyBlock;
      if (!scratch.sees[r]) {
        memset(p, 0, kKeyBlock * sizeof(float));
        continue;
      }
      const float sum = Probabilities(scratch.begin[r], scratch.end[r], a.max[r], p);
      a.sum[r] = __builtin_fmaf(a.sum[r], scratch.factor[r], sum);
    }
  }
  // One panel of values for a group. Rows that see nothing are computed along and put back: left untouched by
  // selection.
  static FT_INLINE void Values(const AttentionArgs& a, AttentionScratch& scratch, int64_t row, int64_t rows,
                               TileArgs& t) {
    int64_t seeing = 0;
    for (int64_t r = 0; r < rows; ++r) seeing += scratch.sees[row + r];
    if (seeing == 0) return;
    if (seeing < rows) {
      for (int64_t r = 0; r < rows; ++r)
        memcpy(scratch.saved + r * kPanel, t.c + r * a.acc_stride, kPanel * sizeof(float));
    }
    TilePanel<Line, kKeyBlock>(rows, t);
    if (seeing == rows) return;
    for (int64_t r = 0; r < rows; ++r) {
      if (!scratch.sees[row + r])
        memcpy(t.c + r * a.acc_stride, scratch.saved + r * kPanel, kPanel * sizeof(float));
    }
  }
  static constexpr AttentionOps Ops() { return {BlockBytes, Write, ClearFrom, Read, Split}; }
};

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_ATTENTION_H_
