// The arithmetic as tables of function pointers, one table per instruction-set variant, on raw pointers.
//
// Shapes: M rows (tokens), K contraction, N outputs. Activations are fp32, row-major, with a row stride of
// whole panels (a multiple of 32 floats; columns past the logical width hold zero). Weights are packed once
// into panels of 32 outputs. Every contraction obeys R1 of docs/numerics.md: an output element is one fixed
// sequence of fp32 operations over k, whatever M is and wherever the row lies.
//
// This header is included by objects compiled for different instruction sets: it holds no function bodies.
#ifndef FUSIONTREE_KERNELS_TABLE_H_
#define FUSIONTREE_KERNELS_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include "kernels/table_backward.h"
#include "kernels/table_sequence.h"

namespace fusiontree::kernels {

constexpr int64_t kPanel = 32;         // outputs a panel: one cache line of bf16 per k
constexpr int64_t kKeyBlock = 64;      // keys a block of attention = positions a cache page (R4)
constexpr int64_t kSplitKeys = 2048;   // a history is cut at multiples of this, each part starting empty (R4)
constexpr int64_t kVocabBlock = 4096;  // block of vocabulary reductions (R3)
constexpr int64_t kMaxSlices = 8;      // largest S of R2
constexpr size_t kScratchBytes = size_t{1} << 20;  // per thread, 64-byte aligned, for matmul and attention

// How a weight lies in memory and what it is multiplied with (table under R9).
enum MatrixKind : uint8_t {
  kBf16Bf16 = 0,  // bf16 weights, inputs rounded to bf16
  kBf16F32 = 1,   // bf16 weights widened, fp32 inputs
  kF16F32 = 2,    // f16 weights widened, fp32 inputs
  kF32F32 = 3,    // fp32 weights and inputs
};
constexpr int kMatrixKinds = 4;

// What happens to an output tile after the slices' tree (R2) and the bias.
enum Epilogue : uint8_t {
  kStore,    // out = y
  kAdd,      // out = out + y
  kSiluMul,  // panels come in pairs (gate, up): out = silu(y_gate) * y_up, half as many output columns
};

struct MatmulArgs {
  const void* rows;                // pack_rows' output, M rows
  int64_t m;                       // M
  int64_t group_begin, group_end;  // row groups of this call (M in groups of rows_per_group)
  const void* weight;              // panel 0
  int64_t k;                       // logical K, divisible by slices
  int64_t slices;                  // S local slices of R2, 1 for a plain contraction
  int64_t panel_begin, panel_end;  // panels of this call; for kSiluMul both even
  Epilogue epilogue;
  const float* bias;   // [panels * 32] in panel order, or null; added once, after the tree
  float* out;          // panel p writes columns [32p, 32p + 32) (kSiluMul: pair p/2 likewise)
  int64_t out_stride;  // floats
  void* scratch;       // kScratchBytes
};

struct MatrixOps {
  int64_t rows_per_group;  // rows a group of the packed activations (the last group may hold fewer)
  int64_t k_block;         // contraction unit of R1: 1, 2 or 32; slices are zero-padded to it

  // Bytes of one packed panel, of all packed rows, and offset of row group g in them.
  size_t (*panel_bytes)(int64_t k, int64_t slices);
  size_t (*rows_bytes)(int64_t m, int64_t k, int64_t slices);

  // Packs one panel from `rows` <= 32 row-major source rows (stored as the kind's weight type: bf16/f16 bits
  // or floats), row stride in bytes; missing rows become zero. Returns false when a value is not finite.
  bool (*pack_weight)(const void* source, size_t row_stride, int64_t rows, int64_t k, int64_t slices,
                      void* panel);
  // Widens row `row` (0..31) of a panel to fp32: out[k].
  void (*unpack_row)(const void* panel, int64_t row, int64_t k, int64_t slices, float* out);
  // Packs row groups [group_begin, group_end) of x [M, stride], rounding to the kind's input type. `x` points
  // at row 0, `out` at the packed buffer's start.
  void (*pack_rows)(const float* x, int64_t stride, int64_t m, int64_t k, int64_t slices, int64_t group_begin,
                    int64_t group_end, void* out);
  void (*matmul)(const MatmulArgs* args);
};

enum AttentionKind : uint8_t {
  kAttentionF32 = 0,   // keys, values fp32; q and p unrounded
  kAttentionBf16 = 1,  // keys, values bf16; q and p rounded to bf16
};
constexpr int kAttentionKinds = 2;

// One KV block holds kKeyBlock positions of one KV head of one layer: K as a packed [64 keys x d] operand, V
// as a packed [d x 64 keys] one, in the variant's layout. A block never written is all zero bytes.
//
// A call computes one tile of queries (rows = queries x heads of the group) against the keys of one split
// [key_begin, key_end), starting from nothing, and leaves for each row r: sum[r] (fp32 sum of p), max[r], and
// acc[r][d] (not divided). A row that sees no key of the split has max = -infinity, sum = 0, acc = 0.
struct AttentionArgs {
  const void* const* blocks;  // blocks[b]: KV block of positions key_begin + [64b, 64b + 64); one in which no
                              // row of the tile sees a key is never read (it may be null)
  int64_t key_begin;          // multiple of kSplitKeys
  int64_t key_end;            // one past the last key any row may see, <= key_begin + kSplitKeys
  const float* q;             // row (i, h) at q + i * q_stride + h * d: rotated queries
  int64_t q_stride;
  int64_t queries, heads, d;  // queries * heads <= kAttentionRows
  int64_t first_position;  // of query 0; query i sees key j iff j <= first_position + i and, with a window,
  int64_t window;          // first_position + i - j < window (0: no window)
  float scale;             // 1/sqrt(d), multiplied in fp32 after the contraction
  float* max;              // [rows]
  float* sum;              // [rows]
  float* acc;              // [rows, acc_stride], row = i * heads + h
  int64_t acc_stride;      // multiple of 32, >= d
  void* scratch;           // kScratchBytes
};
constexpr int64_t kAttentionRows = 64;  // most rows a tile
constexpr int64_t kMaxHeadDim = 256;

struct AttentionOps {
  size_t (*block_bytes)(int64_t d);  // of one KV block, a multiple of 64
  // Stores k[d] (rotated) and v[d] at slot 0..63 of a block, rounded to the cache type.
  void (*write)(void* block, int64_t slot, int64_t d, const float* k, const float* v);
  // Sets slots [slot, 64) to zero, as if never written.
  void (*clear_from)(void* block, int64_t slot, int64_t d);
  // The inverse of write, for saving a cache and for tests: widened to fp32.
  void (*read)(const void* block, int64_t slot, int64_t d, float* k, float* v);
  void (*split)(const AttentionArgs* args);
};

struct Table {
  const char* name;
  MatrixOps matrix[kMatrixKinds];
  AttentionOps attention[kAttentionKinds];

  // (max, sum, acc) of `rows` rows absorbs the later part (max2, sum2, acc2); an empty part changes nothing
  // and an empty state becomes the part, both by selection.
  void (*attention_merge)(int64_t rows, int64_t d, int64_t acc_stride, float* max, float* sum, float* acc,
                          const float* max2, const float* sum2, const float* acc2);
  // out row (i, h) at out + i * out_stride + h * d = acc / sum (+0, so that a zero is never negative).
  void (*attention_finish)(int64_t queries, int64_t heads, int64_t d, int64_t acc_stride, const float* sum,
                           const float* acc, float* out, int64_t out_stride);

  // out = (x * (1 / sqrt(sum(x^2) / n + eps))) * weight; sum of squares over 16 lanes (element i in lane i
  // mod 16), lanes added by the tree (i, i+8), (i, i+4), (i, i+2), (0, 1). Returns false when the sum is not
  // finite. x may equal out.
  bool (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* out);
  // Half rotation in place: x[i], x[i+half] = x[i] c - x[i+half] s, x[i+half] c + x[i] s (product rounded,
  // then fma).
  void (*rope)(float* x, const float* cos, const float* sin, int64_t half);
  bool (*all_finite)(const float* x, int64_t n);
  int64_t (*argmax)(const float* x, int64_t n);  // ties to the lowest index; x finite
  // p[i] = exp(x[i] - shift); returns their sum: 16 lanes and the tree above within blocks of kVocabBlock,
  // then blocks in order. p may equal x.
  float (*exp_sum)(const float* x, int64_t n, float shift, float* p);

  void (*apply[kFunctions])(const float* x, int64_t n, float* out);  // out may equal x
  void (*conv)(const ConvArgs* args);
  void (*scan)(const ScanArgs* args);
  // mean = sum(x) / n and variance = sum((x - mean)^2) / n by the lanes and tree above (a product and its sum
  // one fma), y = (x - mean) * (1 / sqrt(variance + eps)), out = fma(y, weight, bias) or y * weight. Returns
  // false when the sum of squares is not finite. bias may be null, x may equal out.
  bool (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float eps,
                     float* out);
  // out = fma(g, m, (1 - g) * a). gate_step 1: a gate a channel, 0: one for all. out may equal m or a, or
  // gate with step 1.
  void (*mix)(const float* gate, int64_t gate_step, const float* m, const float* a, int64_t n, float* out);

  const BackwardOps* backward;
};

// The variants. Null where this build has none (another processor family).
const Table* RefTable();         // plain loops; bits equal to avx2 and avx512
const Table* Avx2Table();        // AVX2 + FMA + F16C
const Table* Avx512Table();      // AVX-512 F, BW, DQ, VL
const Table* Avx512Bf16Table();  // and AVX512-BF16: kBf16Bf16 products and bf16 attention by VDPBF16PS
const Table* AmxTable();         // and AMX-TILE, AMX-BF16
// Plain-loop twins of the last two: the same sequence of roundings, on any processor.
const Table* RefAvx512Bf16Table();
const Table* RefAmxTable();

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_TABLE_H_
