// Matrix products of avx512bf16 and amx above their micro-kernels: blocks of rows and panels, cuts of k, R2's
// slices and the epilogue.
//
// A block is up to Kernel::kBlockRows rows x a few panels. Within it a cut of k passes: the group of rows is
// outer, the panels inner, so that a group's cut stays in the first-level cache and the panels' cuts in the
// second while every group passes. Tiles of fp32 sums are stored and reloaded between cuts (same bits); the
// last cut of a slice adds the tree at once, the last slice finishes the tile while it is in the first-level
// cache, and a contraction of one cut never leaves it. While a block's cut is computed, its successor in the
// weights' order is fetched into the second-level cache, every group its share.
#ifndef FUSIONTREE_KERNELS_BF16_MATMUL_H_
#define FUSIONTREE_KERNELS_BF16_MATMUL_H_

#include "kernels/bf16_layout.h"
#include "kernels/simd_matmul.h"

namespace fusiontree::kernels {
namespace {
namespace bf16 {

// Most k of a cut: 64 KB of a panel, 24 KB of a group of 12 rows, 64 KB of one of 32. Kernel::kPanels such
// cuts and their successors take half of the second-level cache. A tile's reload costs 1-5% of a cut of this
// length.
constexpr int64_t kCutK = 1024;
constexpr int64_t kMostUnits = 4;  // partial sums alive in the tree of 8 slices
// One group alone streams the weights in their order, fetching this far ahead: a core's share of the
// bandwidth times the latency (17 GB/s x 120 ns) four times over, across the ends of pages, panels and calls.
constexpr int64_t kStreamAhead = 8192;

// What a micro-kernel gets: c[rows][32] = (from_c ? c : 0) + a[rows][k] * b[k][32].
struct Cut {
  const char* a;  // packed group, at the cut
  const char* b;  // panel, at the cut
  int64_t k;      // padded to the kernel's K-block
  int64_t rows;
  float* c;
  bool from_c;
  const char* prefetch;    // lines to fetch into the second-level cache on the way, or null
  int64_t prefetch_lines;  // for every 32 k; the last block of k may be short
};

FT_INLINE void Prefetch(const char* p, int64_t lines) {
  for (int64_t i = 0; i < lines; ++i) _mm_prefetch(p + 64 * i, _MM_HINT_T1);
}

// R2's tree as a counter: slice s is summed into unit[s], then merges[s] times the two youngest units are
// added.
struct SliceTree {
  int64_t unit[kMaxSlices], merges[kMaxSlices], units;
};
FT_INLINE SliceTree MakeSliceTree(int64_t slices) {
  SliceTree tree = {};
  int64_t odd = slices, alive = 0;
  while (odd % 2 == 0) odd /= 2;
  for (int64_t s = 0; s < slices; ++s) {
    tree.unit[s] = alive++;
    tree.units = alive > tree.units ? alive : tree.units;
    tree.merges[s] = s % odd != 0;
    if (s % odd == odd - 1) {
      for (int64_t groups = (s + 1) / odd; groups % 2 == 0; groups /= 2) ++tree.merges[s];
    }
    alive -= tree.merges[s];
  }
  return tree;
}

template <typename Kernel>
struct Product {
  static constexpr int64_t kRows = Kernel::kRows;
  static constexpr int64_t kBlockGroups = Kernel::kBlockRows / kRows;

  static int64_t RowsK(int64_t slice_k) { return Up(slice_k, Kernel::kBlock); }
  static size_t RowsBytes(int64_t m, int64_t k, int64_t slices) {
    return static_cast<size_t>(Up(m * slices * RowsK(k / slices) * 2, 64));
  }
  static void PackRows(const float* x, int64_t stride, int64_t m, int64_t k, int64_t slices,
                       int64_t group_begin, int64_t group_end, void* out) {
    const int64_t slice_k = k / slices, rows_k = RowsK(slice_k);
    for (int64_t first = group_begin * kRows; first < group_end * kRows && first < m; first += kRows) {
      const int64_t rows = m - first < kRows ? m - first : kRows;
      char* to = static_cast<char*>(out) + first * slices * rows_k * 2;
      for (int64_t s = 0; s < slices; ++s, to += rows * rows_k * 2)
        Kernel::Pack(x + first * stride + s * slice_k, stride, rows, slice_k, to);
    }
  }

  // One block of a call: groups [group, group_end) x panels [panel, panel_end).
  struct Block {
    const MatmulArgs& a;
    SliceTree tree;
    int64_t slice_k, rows_k, panel_slice, panel_bytes;  // k, k, bytes, bytes
    int64_t cuts, cut;                                  // of a slice; k of all but the last
    int64_t group, group_end, panel, panel_end;
    int64_t unit_floats;  // of a unit: panels x rows x 32; zero where one cut is all

    FT_INLINE int64_t Rows(int64_t g) const { return a.m - g * kRows < kRows ? a.m - g * kRows : kRows; }
    FT_INLINE float* TileAt(int64_t unit, int64_t g, int64_t p) const {
      float* scratch = static_cast<float*>(a.scratch);
      if (unit_floats == 0) return scratch + p % 2 * (kRows * 32);
      return scratch + unit * unit_floats + ((p - panel) * (group_end - group) + (g - group)) * (kRows * 32);
    }
    FT_INLINE const char* Weights(int64_t p, int64_t s, int64_t k) const {
      return static_cast<const char*>(a.weight) + p * panel_bytes + s * panel_slice + k * kBytesPerK;
    }

    // The slice is complete in its unit: add the tree; after the last slice, the epilogue.
    FT_INLINE void EndSlice(int64_t s, int64_t g, int64_t p) const {
      const int64_t rows = Rows(g);
      for (int64_t i = 0; i < tree.merges[s]; ++i) {
        float* sum = TileAt(tree.unit[s] - i - 1, g, p);
        const float* more = TileAt(tree.unit[s] - i, g, p);
        for (int64_t j = 0; j < rows * 32; j += 16) Store(sum + j, Add(Load(sum + j), Load(more + j)));
      }
      if (s + 1 < a.slices) return;
      float* y = TileAt(0, g, p);
      const float* bias = a.bias ? a.bias + p * kPanel : nullptr;
      float* out = a.out + g * kRows * a.out_stride;
      if (a.epilogue != kSiluMul) {
        Finish(a.epilogue, rows, y, bias, nullptr, out + p * kPanel, a.out_stride);
      } else if (p % 2 == 0) {
        if (bias) Finish(kStore, rows, y, bias, nullptr, y, 32);
      } else {
        Finish(kSiluMul, rows, y, bias, TileAt(0, g, p - 1), out + p / 2 * kPanel, a.out_stride);
      }
    }

    // Where the weights of this block's cut end, the next cut's begin: of the same panels, or of the next
    // block's.
    FT_INLINE const char* Next(int64_t p, int64_t s, int64_t c) const {
      if (c + 1 < cuts) return Weights(p, s, (c + 1) * cut);
      if (s + 1 < a.slices) return Weights(p, s + 1, 0);
      const int64_t next = p + panel_end - panel;
      return next < a.panel_end ? Weights(next, 0, 0) : nullptr;
    }

    void Run() const {
      const int64_t groups = group_end - group;
      bool backward = false;  // the order of groups alternates, so that the short one changes the kernel's
                              // set-up half as often
      for (int64_t s = 0; s < a.slices; ++s) {
        for (int64_t c = 0; c < cuts; ++c, backward = !backward) {
          Cut t;
          const int64_t k0 = c * cut;
          t.k = rows_k - k0 < cut ? rows_k - k0 : cut;
          t.from_c = c > 0;
          t.prefetch_lines = (kBlockBytes / 64 + groups - 1) / groups;
          const int64_t share = Up(t.k, kBlockK) / kBlockK * t.prefetch_lines * 64;
          for (int64_t i = 0; i < groups; ++i) {
            const int64_t g = backward ? group_end - 1 - i : group + i;
            t.rows = Rows(g);
            t.a = static_cast<const char*>(a.rows) + g * kRows * a.slices * rows_k * 2 +
                  (s * rows_k + k0) * t.rows * 2;
            for (int64_t p = panel; p < panel_end; ++p) {
              t.b = Weights(p, s, k0);
              t.c = TileAt(tree.unit[s], g, p);
              if (groups == 1) {
                t.prefetch = t.b + kStreamAhead;
              } else {
                t.prefetch = Next(p, s, c);
                if (t.prefetch) t.prefetch += i * share;
              }
              Kernel::Micro(t);
              if (c + 1 == cuts) EndSlice(s, g, p);
            }
          }
        }
      }
    }
  };

  static void Matmul(const MatmulArgs* args) {
    const MatmulArgs& a = *args;
    const int64_t group_end =
        a.group_end < (a.m + kRows - 1) / kRows ? a.group_end : (a.m + kRows - 1) / kRows;
    if (a.group_begin >= group_end) return;
    const int64_t step = a.epilogue == kSiluMul ? 2 : 1;
    Block b{a, MakeSliceTree(a.slices), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    b.slice_k = a.k / a.slices;
    b.rows_k = RowsK(b.slice_k);
    b.panel_slice = Up(b.slice_k, kBlockK) * kBytesPerK;
    b.panel_bytes = a.slices * b.panel_slice;
    b.cuts = (b.rows_k + kCutK - 1) / kCutK;
    b.cut = Up((b.rows_k + b.cuts - 1) / b.cuts, kBlockK);
    // Equal row blocks. One group alone takes the panels one by one, in the order in which they lie.
    const int64_t blocks = (group_end - a.group_begin + kBlockGroups - 1) / kBlockGroups;
    const int64_t block = (group_end - a.group_begin + blocks - 1) / blocks;
    const int64_t room = static_cast<int64_t>(kScratchBytes) / (b.tree.units * block * kRows * 32 * 4);
    static_assert(kMostUnits * 2 * kBlockGroups * kRows * 32 * 4 <= static_cast<int64_t>(kScratchBytes));
    const int64_t panels =
        block == 1 ? step : (room < Kernel::kPanels ? room : Kernel::kPanels) / step * step;
    Kernel::Begin();
    for (b.group = a.group_begin; b.group < group_end; b.group += block) {
      b.group_end = b.group + block < group_end ? b.group + block : group_end;
      for (b.panel = a.panel_begin; b.panel < a.panel_end; b.panel += panels) {
        b.panel_end = b.panel + panels < a.panel_end ? b.panel + panels : a.panel_end;
        b.unit_floats = a.slices * b.cuts == 1 ? 0 : panels * block * kRows * 32;
        b.Run();
      }
    }
    Kernel::End();
  }

  static constexpr MatrixOps Ops() {
    return {kRows, Kernel::kBlock, PanelBytes, RowsBytes, PackWeight, UnpackRow, PackRows, Matmul};
  }
};

}  // namespace bf16
}  // namespace
}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_BF16_MATMUL_H_
