// Matrix products: row blocks outside, then panels, slices and cuts of k, R2's slices summed by their tree. A
// cut of a panel stays in the first-level cache while the block's groups pass.
// Cost: m * n * k FMAs, panel bytes read once per kBlockRows rows; no allocation (scratch).
#ifndef FUSIONTREE_KERNELS_SIMD_MATMUL_H_
#define FUSIONTREE_KERNELS_SIMD_MATMUL_H_

#include "kernels/simd_math.h"
#include "kernels/simd_tile.h"
#include "kernels/table.h"

namespace fusiontree::kernels {
namespace {

constexpr int64_t kBlockRows =
    16 * kTileRows;                  // most rows of a block: a cut of them lies in the second-level cache
constexpr int64_t kNarrowCut = 128;  // most lines of a cut that one group alone passes over
constexpr int64_t kWidenRows = 3 * kTileRows;  // from here on a 16-bit cut is widened once for all groups
constexpr int64_t kAhead = 24;                 // lines from the one in hand to the one prefetched

// Scratch: the widened cut, then buffers of partial sums: at most 4 live in the tree of 8 slices, and one
// holds the gate of a pair.
struct Scratch {
  float* widened;     // [kCut][32]
  float* gate;        // [kBlockRows][32]
  float* partial[5];  // likewise
};
static_assert((kCut * 32 + 6 * kBlockRows * 32) * 4 <= static_cast<int64_t>(kScratchBytes));

FT_INLINE Scratch Carve(void* memory) {
  Scratch s;
  s.widened = static_cast<float*>(memory);
  s.gate = s.widened + kCut * 32;
  for (int i = 0; i < 5; ++i) s.partial[i] = s.gate + (i + 1) * kBlockRows * 32;
  return s;
}

FT_INLINE void AddTo(float* sum, const float* more, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) Store(sum + i, Add(Load(sum + i), Load(more + i)));
}

// R2's tree over `compute(slice, out)`, each of n floats: halves while the count is even, an odd group left
// to right. A binary counter of finished groups: the result is in partial[0].
template <typename Compute>
FT_INLINE void SumSlices(int64_t slices, int64_t n, float* const* partial, Compute compute) {
  int64_t odd = slices;
  while (odd % 2 == 0) odd /= 2;
  int64_t depth = 0;
  for (int64_t s = 0; s < slices; ++s) {
    compute(s, partial[depth]);
    if (s % odd == 0) {
      ++depth;
    } else {
      AddTo(partial[depth - 1], partial[depth], n);
    }
    if (s % odd != odd - 1) continue;
    for (int64_t groups = (s + 1) / odd; groups % 2 == 0; groups /= 2) {
      --depth;
      AddTo(partial[depth - 1], partial[depth], n);
    }
  }
}

template <Epilogue kEpilogue>
FT_INLINE void Finish16(float* out, const float* y, const float* bias, const float* gate) {
  V v = Load(y);
  if (bias) v = Add(v, Load(bias));
  if constexpr (kEpilogue == kAdd) v = Add(Load(out), v);
  if constexpr (kEpilogue == kSiluMul) v = Mul(Silu(Load(gate)), v);
  Store(out, v);
}
// y [rows][32] to the output. For kSiluMul y is the up panel, and gate the finished gate panel.
FT_INLINE void Finish(Epilogue epilogue, int64_t rows, const float* y, const float* bias, const float* gate,
                      float* out, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < 32; i += 16) {
      const float* b = bias ? bias + i : nullptr;
      float* o = out + r * out_stride + i;
      if (epilogue == kStore) {
        Finish16<kStore>(o, y + r * 32 + i, b, nullptr);
      } else if (epilogue == kAdd) {
        Finish16<kAdd>(o, y + r * 32 + i, b, nullptr);
      } else {
        Finish16<kSiluMul>(o, y + r * 32 + i, b, gate + r * 32 + i);
      }
    }
  }
}

template <typename Line>
struct Product {
  static FT_INLINE int64_t PanelBytes(int64_t k) { return k * Line::kBytes; }

  // Lines [0, k) of kPanels panels lying panel_bytes apart, times one row: out[panel][32].
  template <int kPanels>
  static FT_INLINE void StreamCut(const float* row, const char* lines, int64_t panel_bytes, int64_t k,
                                  int64_t prefetch, V acc[kPanels][2]) {
    for (int64_t i = 0; i < k; ++i, lines += Line::kBytes) {
      const V x = SetFrom(row + i);
      FT_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        const char* line = lines + p * panel_bytes;
        _mm_prefetch(line + prefetch, _MM_HINT_T0);
        if constexpr (Line::kBytes == 128) _mm_prefetch(line + prefetch + 64, _MM_HINT_T0);
        acc[p][0] = Fma(x, Line::template Get<0>(line), acc[p][0]);
        acc[p][1] = Fma(x, Line::template Get<1>(line), acc[p][1]);
      }
    }
  }
  // One slice at M = 1. The last lines prefetch what follows: the next slice, or the next panels' first
  // lines.
  template <int kPanels>
  static void Stream(const float* row, const char* lines, int64_t panel_bytes, int64_t k, int64_t next,
                     float* out) {
    V acc[kPanels][2];
    FT_UNROLL
    for (int p = 0; p < kPanels; ++p) acc[p][0] = acc[p][1] = Zero();
    const int64_t body = k > kAhead ? k - kAhead : 0;
    StreamCut<kPanels>(row, lines, panel_bytes, body, kAhead * Line::kBytes, acc);
    StreamCut<kPanels>(row + body, lines + body * Line::kBytes, panel_bytes, k - body,
                       next - body * Line::kBytes, acc);
    FT_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      Store(out + 32 * p, acc[p][0]);
      Store(out + 32 * p + 16, acc[p][1]);
    }
  }
  template <int kPanels>
  static void RowPanels(const MatmulArgs& a, const Scratch& scratch, int64_t row, const float* x,
                        int64_t panel) {
    const int64_t bytes = PanelBytes(a.k), slice_k = a.k / a.slices, slice_bytes = slice_k * Line::kBytes;
    const char* lines = static_cast<const char*>(a.weight) + panel * bytes;
    SumSlices(a.slices, kPanels * 32, scratch.partial, [&](int64_t s, float* out) {
      const int64_t next = s + 1 < a.slices ? slice_bytes : kPanels * bytes - s * slice_bytes;
      Stream<kPanels>(x + s * slice_k, lines + s * slice_bytes, bytes, slice_k, next, out);
    });
    const float* y = scratch.partial[0];
    float* out = a.out + row * a.out_stride;
    if (a.epilogue != kSiluMul) {
      for (int64_t p = 0; p < kPanels; ++p) {
        const int64_t column = (panel + p) * kPanel;
        Finish(a.epilogue, 1, y + 32 * p, a.bias ? a.bias + column : nullptr, nullptr, out + column, 0);
      }
      return;
    }
    for (int64_t p = 0; p + 1 < kPanels; p += 2) {
      const int64_t column = (panel + p) * kPanel;
      Finish(kStore, 1, y + 32 * p, a.bias ? a.bias + column : nullptr, nullptr, scratch.gate, 0);
      Finish(kSiluMul, 1, y + 32 * p + 32, a.bias ? a.bias + column + kPanel : nullptr, scratch.gate,
             out + column / 2, 0);
    }
  }
  static void Row(const MatmulArgs& a, const Scratch& scratch, int64_t row, const float* x) {
    int64_t p = a.panel_begin;
    for (; p + kStreamPanels <= a.panel_end; p += kStreamPanels)
      RowPanels<kStreamPanels>(a, scratch, row, x, p);
    for (; p + 2 <= a.panel_end; p += 2) RowPanels<2>(a, scratch, row, x, p);
    for (; p < a.panel_end; ++p) RowPanels<1>(a, scratch, row, x, p);
  }

  // Rows [first, first + count) of the packed activations against one slice of one panel: out[count][32].
  static void Slice(const MatmulArgs& a, const Scratch& scratch, int64_t first, int64_t count,
                    const char* panel, int64_t slice, float* out) {
    const int64_t slice_k = a.k / a.slices, k_end = (slice + 1) * slice_k;
    const int64_t most = count <= kTileRows ? kNarrowCut : kCut;
    const int64_t cuts = (slice_k + most - 1) / most, cut = (slice_k + cuts - 1) / cuts;
    for (int64_t k = slice * slice_k; k < k_end; k += cut) {
      TileArgs t;
      t.k = k_end - k < cut ? k_end - k : cut;
      t.start = k == slice * slice_k ? kFromZero : kFromOut;
      t.c_stride = 32;
      t.factor = nullptr;
      t.lines = panel + k * Line::kBytes;
      t.fetch = t.lines + cut * Line::kBytes;
      if (kWidens && Line::kBytes != 128 && count >= kWidenRows) {
        for (int64_t i = 0; i < t.k; ++i) {
          Store(scratch.widened + 32 * i, Line::template Get<0>(t.lines + i * Line::kBytes));
          Store(scratch.widened + 32 * i + 16, Line::template Get<1>(t.lines + i * Line::kBytes));
        }
        t.lines = reinterpret_cast<const char*>(scratch.widened);
        Groups<LineF32>(a, t, first, count, k, out);
      } else {
        Groups<Line>(a, t, first, count, k, out);
      }
    }
  }
  // One cut: all groups, fetching the next cut of the weights (they are contiguous) and the next group's
  // activations meanwhile.
  template <typename From>
  static FT_INLINE void Groups(const MatmulArgs& a, TileArgs& t, int64_t first, int64_t count, int64_t k,
                               float* out) {
    const float* rows = static_cast<const float*>(a.rows);
    const int64_t groups = (count + kTileRows - 1) / kTileRows;
    t.fetch_step = Line::kBytes / (groups * TilePasses(count < kTileRows ? count : kTileRows)) + 1;
    const auto group = [&](int64_t r) {
      const int64_t n = count - r < kTileRows ? count - r : kTileRows;
      const int64_t after = r + n < count ? r + n : 0,
                    next = count - after < kTileRows ? count - after : kTileRows;
      t.rows = rows + (first + r) * a.k + k * n;
      t.next = rows + (first + after) * a.k + k * next;
      t.c = out + r * 32;
      return n;
    };
    if (kTileVectors == 2 || groups == 1 || From::kBytes == 64) {
      for (int64_t r = 0; r < count; r += kTileRows) {
        TilePanel<From, 0>(group(r), t);
        t.fetch += t.k * t.fetch_step;
      }
      return;
    }
    for (int64_t r = 0; r < count; r += kTileRows) {
      TilePass<From, 0, 1, 0>(group(r), t);
      t.fetch += t.k * t.fetch_step;
    }
    for (int64_t r = 0; r < count; r += kTileRows) {
      TilePass<From, 1, 1, 0>(group(r), t);
      t.fetch += t.k * t.fetch_step;
    }
  }
  static void Block(const MatmulArgs& a, const Scratch& scratch, int64_t first, int64_t count,
                    int64_t panel) {
    const char* lines = static_cast<const char*>(a.weight) + panel * PanelBytes(a.k);
    const float* bias = a.bias ? a.bias + panel * kPanel : nullptr;
    float* out = a.out + first * a.out_stride + (a.epilogue == kSiluMul ? panel / 2 : panel) * kPanel;
    const auto sum = [&](const char* from) {
      SumSlices(a.slices, count * 32, scratch.partial,
                [&](int64_t s, float* to) { Slice(a, scratch, first, count, from, s, to); });
    };
    sum(lines);
    if (a.epilogue == kSiluMul) {
      Finish(kStore, count, scratch.partial[0], bias, nullptr, scratch.gate, 32);
      sum(lines + PanelBytes(a.k));
      if (bias) bias += kPanel;
    }
    Finish(a.epilogue, count, scratch.partial[0], bias, scratch.gate, out, a.out_stride);
  }

  static void Matmul(const MatmulArgs* args) {
    const MatmulArgs& a = *args;
    const Scratch scratch = Carve(a.scratch);
    const int64_t begin = a.group_begin * kTileRows;
    const int64_t end = a.group_end * kTileRows < a.m ? a.group_end * kTileRows : a.m;
    if (begin >= end) return;
    if (end - begin == 1) {
      return Row(a, scratch, begin, static_cast<const float*>(a.rows) + begin * a.k);
    }
    // Equal blocks of whole groups.
    const int64_t blocks = (end - begin + kBlockRows - 1) / kBlockRows;
    const int64_t block = ((end - begin + blocks - 1) / blocks + kTileRows - 1) / kTileRows * kTileRows;
    for (int64_t first = begin; first < end; first += block)
      for (int64_t p = a.panel_begin; p < a.panel_end; p += a.epilogue == kSiluMul ? 2 : 1)
        Block(a, scratch, first, end - first < block ? end - first : block, p);
  }
};

}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_SIMD_MATMUL_H_
