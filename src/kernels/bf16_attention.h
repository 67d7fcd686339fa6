// bf16 attention of avx512bf16 and amx: scores and values are products of packed panels (bf16_layout.h), the
// rest is the algorithm of ref.cc, rows in the same order of operations. Kernel::Multiply is the contraction.
// Scratch, at most 185 KB: q, p (bf16), scores, acc, saved (fp32).
#ifndef FUSIONTREE_KERNELS_BF16_ATTENTION_H_
#define FUSIONTREE_KERNELS_BF16_ATTENTION_H_

#include <math.h>

#include "kernels/bf16_layout.h"

namespace fusiontree::kernels {
namespace {
namespace bf16 {

// Row strides of q and p in bytes; constants, so that a micro-kernel reaches its rows by displacements.
constexpr int64_t kQueryStride = kMaxHeadDim * 2;
constexpr int64_t kProbStride = kKeyBlock * 2;

// c[rows][32] = (from_c ? c : 0) + a[rows][k] * panel[k][32]; a row-major bf16; c_stride in floats.
struct Contraction {
  const char* a;
  int64_t rows;
  const char* panel;
  int64_t k;
  float* c;
  int64_t c_stride;
  bool from_c;
};

template <typename Kernel>
struct Attention {
  static size_t BlockBytes(int64_t d) { return static_cast<size_t>(Up(d, 32) * (kKeyBlock + kKeyBlock) * 2); }
  static FT_INLINE int64_t PanelOfKeys(int64_t d) { return Up(d, kBlockK) * kBytesPerK; }
  // Of element i of slot's key and value.
  static FT_INLINE int64_t KeyAt(int64_t slot, int64_t i, int64_t d) {
    return slot / kPanel * PanelOfKeys(d) + At(i, slot % kPanel);
  }
  static FT_INLINE int64_t ValueAt(int64_t slot, int64_t i, int64_t d) {
    return 2 * PanelOfKeys(d) + i / kPanel * kValueBytes + At(slot, i % kPanel);
  }

  static void Write(void* block, int64_t slot, int64_t d, const float* k, const float* v) {
    char* keys = static_cast<char*>(block) + KeyAt(slot, 0, d);
    char* values = static_cast<char*>(block) + ValueAt(slot, 0, d);
    const int shift = slot % 2 == 1 ? 16 : 0;  // a value is one half of each word of its line
    for (int64_t i = 0; i < d; i += kBlockK) {
      alignas(64) uint32_t pairs[16];
      _mm512_store_si512(pairs, NarrowPairs(k + i, d - i));
      const int64_t n = d - i < kBlockK ? (d - i + 1) / 2 : 16;
      for (int64_t j = 0; j < n; ++j) memcpy(keys + i * kBytesPerK + 64 * j, pairs + j, 4);
    }
    char* line =
        values - (slot % 2) * 2;  // lines of 16 words, a tile apart; a panel of 32 channels is two tiles
    for (int64_t i = 0; i < d; i += 16) {
      const int64_t n = d - i < 16 ? d - i : 16;
      const __m512i words =
          _mm512_slli_epi32(_mm512_cvtepu16_epi32(Narrow(LoadN(v + i, n))), static_cast<unsigned>(shift));
      const __mmask32 lanes = LowWords(2 * n) & (shift ? 0xaaaaaaaau : 0x55555555u);
      // Other threads may be writing the other half: only this half is stored.
      _mm512_mask_storeu_epi16(line + i / kPanel * kValueBytes + i % kPanel / 16 * kTileBytes, lanes, words);
    }
  }
  static void ClearFrom(void* block, int64_t slot, int64_t d) {
    char* base = static_cast<char*>(block);
    if (slot == 0) {
      memset(base, 0, BlockBytes(d));
      return;
    }
    for (int64_t s = slot; s < kKeyBlock; ++s) {
      for (int64_t i = 0; i < d; ++i) {
        memset(base + KeyAt(s, i, d), 0, 2);
        memset(base + ValueAt(s, i, d), 0, 2);
      }
    }
  }
  static void Read(const void* block, int64_t slot, int64_t d, float* k, float* v) {
    const char* base = static_cast<const char*>(block);
    for (int64_t i = 0; i < d; ++i) {
      k[i] = Widen(base + KeyAt(slot, i, d));
      v[i] = Widen(base + ValueAt(slot, i, d));
    }
  }

  struct Work {
    char* q;                                          // [64][256] bf16
    char* p;                                          // [64][64] bf16
    float* score;                                     // [64][64]
    float* acc;                                       // [64][padded d]
    float* saved;                                     // [64][padded d]
    float *max, *new_max, *sum, *block_sum, *factor;  // [64]
    int64_t width;                                    // padded d
    int64_t rows;
    bool blind[kAttentionRows];  // sees no key of this block
  };
  static FT_INLINE Work Carve(const AttentionArgs& a) {
    Work w;
    w.width = Up(a.d, kBlockK);
    w.rows = a.queries * a.heads;
    w.q = static_cast<char*>(a.scratch);
    w.p = w.q + kAttentionRows * kQueryStride;
    w.score = reinterpret_cast<float*>(w.p + kAttentionRows * kProbStride);
    w.acc = w.score + kAttentionRows * kKeyBlock;
    w.saved = w.acc + kAttentionRows * w.width;
    w.max = w.saved + kAttentionRows * w.width;
    w.new_max = w.max + kAttentionRows;
    w.sum = w.new_max + kAttentionRows;
    w.block_sum = w.sum + kAttentionRows;
    w.factor = w.block_sum + kAttentionRows;
    return w;
  }

  // Keys [begin, end) of the block from `first` on that a query at `position` sees.
  struct Range {
    int64_t begin, end;
  };
  static FT_INLINE Range Visible(const AttentionArgs& a, int64_t position, int64_t first) {
    int64_t end = position + 1 - first, begin = a.window == 0 ? 0 : end - a.window;
    begin = begin < 0 ? 0 : begin;
    end = end > kKeyBlock ? kKeyBlock : end;
    return {begin, end};
  }
  static FT_INLINE bool AnyVisible(const AttentionArgs& a, int64_t first) {
    for (int64_t i = 0; i < a.queries; ++i) {
      const Range range = Visible(a, a.first_position + i, first);
      if (range.begin < range.end) return true;
    }
    return false;
  }

  // Scales a row's scores, finds the new maximum.
  static FT_INLINE void RowMax(const AttentionArgs& a, const Work& w, int64_t r, Range range) {
    float* score = w.score + r * kKeyBlock;
    const V lowest = Set(-INFINITY), scale = Set(a.scale);
    V top = lowest;
    FT_UNROLL
    for (int64_t j = 0; j < kKeyBlock; j += 16) {
      const V s = Mul(Load(score + j), scale);
      Store(score + j, s);
      top = Max(Select(Lanes(range.begin - j, range.end - j), s, lowest), top);
    }
    float block_max = MaxLanes(top);
    if (block_max == 0.0f) {  // of zeros of both signs the first one counts
      for (int64_t j = range.end - 1; j >= range.begin; --j)
        block_max = score[j] == 0.0f ? score[j] : block_max;
    }
    w.new_max[r] = block_max > w.max[r] ? block_max : w.max[r];
  }
  // p = exp(score - max), its sum, and p rounded.
  static FT_INLINE void RowExp(const Work& w, int64_t r, Range range) {
    const V shift = Set(w.new_max[r]);
    V e[4], lanes = Zero();
    FT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const V all = Exp(Sub(Load(w.score + r * kKeyBlock + 16 * i), shift));
      e[i] = Select(Lanes(range.begin - 16 * i, range.end - 16 * i), all, Zero());
      lanes = Add(lanes, e[i]);
    }
    w.block_sum[r] = SumLanes(lanes);
    char* p = w.p + r * kProbStride;
    _mm512_storeu_si512(p, _mm512_inserti64x4(_mm512_castsi256_si512(Narrow(e[0])), Narrow(e[1]), 1));
    _mm512_storeu_si512(p + 64, _mm512_inserti64x4(_mm512_castsi256_si512(Narrow(e[2])), Narrow(e[3]), 1));
  }

  static void KeyBlock(const AttentionArgs& a, Work& w, int64_t first) {
    const char* block = static_cast<const char*>(a.blocks[(first - a.key_begin) / kKeyBlock]);
    const int64_t next = first + kKeyBlock;
    const char* next_block = next < a.key_end && AnyVisible(a, next)
                                 ? static_cast<const char*>(a.blocks[(next - a.key_begin) / kKeyBlock])
                                 : nullptr;
    for (int64_t h = 0; h < 2; ++h) {
      Kernel::template Multiply<kQueryStride>({w.q, w.rows, block + h * PanelOfKeys(a.d),
                                               Up(a.d, Kernel::kBlock), w.score + h * kPanel, kKeyBlock,
                                               false});
    }
    // Pages lie apart, which hardware prefetchers do not cross: the softmax hides half of the fetch.
    if (next_block) Fetch(next_block, 2 * PanelOfKeys(a.d));
    for (int64_t r = 0; r < w.rows; ++r) {
      const Range range = Visible(a, a.first_position + r / a.heads, first);
      w.blind[r] = range.begin >= range.end;
      if (w.blind[r]) {
        w.new_max[r] = w.max[r];
      } else {
        RowMax(a, w, r, range);
      }
    }
    for (int64_t r = 0; r < w.rows; r += 16) {  // exp(-inf) = 0 is the first block's factor
      Store(w.factor + r, Exp(Sub(Load(w.max + r), Load(w.new_max + r))));
    }
    for (int64_t r = 0; r < w.rows; ++r) {
      float* acc = w.acc + r * w.width;
      if (w.blind[r]) {
        memset(w.p + r * kProbStride, 0, kProbStride);
        memcpy(w.saved + r * w.width, acc, static_cast<size_t>(w.width) * 4);
        continue;
      }
      RowExp(w, r, Visible(a, a.first_position + r / a.heads, first));
      w.max[r] = w.new_max[r];
      w.sum[r] = __builtin_fmaf(w.sum[r], w.factor[r], w.block_sum[r]);
      const V factor = Set(w.factor[r]);
      for (int64_t i = 0; i < w.width; i += 16) Store(acc + i, Mul(Load(acc + i), factor));
    }
    if (next_block) Fetch(next_block + 2 * PanelOfKeys(a.d), w.width * kKeyBlock * 2);
    for (int64_t i = 0; i < w.width; i += kPanel) {
      Kernel::template Multiply<kProbStride>({w.p, w.rows,
                                              block + 2 * PanelOfKeys(a.d) + i / kPanel * kValueBytes,
                                              kKeyBlock, w.acc + i, w.width, true});
    }
    for (int64_t r = 0; r < w.rows; ++r) {  // adding 0 * v would turn -0 into +0
      if (w.blind[r]) memcpy(w.acc + r * w.width, w.saved + r * w.width, static_cast<size_t>(w.width) * 4);
    }
  }
  static FT_INLINE void Fetch(const char* p, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(p + i, _MM_HINT_T1);
  }

  static void Split(const AttentionArgs* args) {
    const AttentionArgs& a = *args;
    Work w = Carve(a);
    // Rows past the last stay zero: the kernel may compute them.
    const int64_t padded_rows = Up(w.rows, 16);
    memset(w.q + w.rows * kQueryStride, 0, static_cast<size_t>((padded_rows - w.rows) * kQueryStride));
    memset(w.p + w.rows * kProbStride, 0, static_cast<size_t>((padded_rows - w.rows) * kProbStride));
    memset(w.acc, 0, static_cast<size_t>(padded_rows * w.width * 4));
    for (int64_t r = 0; r < w.rows; ++r) {
      const float* q = a.q + r / a.heads * a.q_stride + r % a.heads * a.d;
      for (int64_t i = 0; i < a.d; i += kBlockK)
        _mm512_storeu_si512(w.q + r * kQueryStride + i * 2, NarrowPairs(q + i, a.d - i));
    }
    for (int64_t r = 0; r < kAttentionRows; ++r) {
      w.max[r] = w.new_max[r] = -INFINITY;
      w.sum[r] = 0.0f;
    }
    Kernel::BeginAttention(w.rows);
    for (int64_t first = a.key_begin; first < a.key_end; first += kKeyBlock)
      if (AnyVisible(a, first)) KeyBlock(a, w, first);
    Kernel::End();
    for (int64_t r = 0; r < w.rows; ++r) {
      a.max[r] = w.max[r];
      a.sum[r] = w.sum[r];
      float* acc = a.acc + r * a.acc_stride;
      memcpy(acc, w.acc + r * w.width, static_cast<size_t>(w.width) * 4);
      memset(acc + w.width, 0, static_cast<size_t>(a.acc_stride - w.width) * 4);
    }
  }

  static constexpr AttentionOps Ops() { return {BlockBytes, Write, ClearFrom, Read, Split}; }
};

}  // namespace bf16
}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_BF16_ATTENTION_H_
