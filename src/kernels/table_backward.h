// Part of table.h: the backward of the elementwise, row-wise and channel-wise kernels (R10).
//
// Gradient contract: d-something of an activation is overwritten; of a weight it is added to, row by row, so
// that rows given in one call or in several, in the order stated, leave the same bits. Threads own rows or
// columns, never share a sum. Everything is fp32; what the forward did not keep is computed again, by its own
// operations.
#ifndef FUSIONTREE_KERNELS_TABLE_BACKWARD_H_
#define FUSIONTREE_KERNELS_TABLE_BACKWARD_H_

#include <stdint.h>

#include "kernels/table_sequence.h"

namespace fusiontree::kernels {

constexpr int64_t kScanGroup = 64;  // channels a group of sums over channels
constexpr int64_t kScanChunk =
    64;  // rows between two states that a forward keeps: the most rows of a scan backward

// The selective scan's backward over `rows` <= kScanChunk rows, from the state before them. Pieces of a
// sequence go last first, dstate handed on; any cut gives the same bits. With h = s_t - (delta x) b_n for e
// s_{t-1}, rows descending and states ascending within a row:
//   dy = dout silu(z);  dz = (dout y) silu'(z);  dskip = fma(dy, x, dskip)
//   ds = fma(dy, c_n, dstate_n);  w = ds h;  da_n = fma(w, delta, da_n);  dstate_n = e ds
//   q = fma(ds, b_n, q), r = fma(w, a_n, r) from +0;  dx = fma(delta, q, dy skip);  ddelta = fma(x, q, r ln
//   2) dc_n, db_n of a group of channels: lane i mod 16 takes fma(dy, s_n, .), fma(ds, delta x, .) of its
//   channels in ascending order from +0, lanes added by the tree of rms_norm. Groups are added by the caller,
//   in order.
struct ScanBackwardArgs {
  ScanArgs
      forward;  // state: the saved one, not changed; out is not used; channel_begin a multiple of kScanGroup
  const float* dout;
  int64_t dout_stride;
  float *dx, *ddelta, *dz;  // may be dout with its stride (one of them); dz null without z
  int64_t dx_stride, ddelta_stride, dz_stride;
  float *db, *dc;  // group g of the whole width at + g * group_stride: [rows, n]
  int64_t dbc_stride, group_stride;
  float* da;  // [n, ..], added to: of A = a ln 2 (of A_log: da A)
  int64_t da_stride;
  float* dskip;   // [channels], added to
  float* dstate;  // [n, ..]: of the state after the last row; left as of the state before the first
  int64_t dstate_stride;
  float* scratch;  // (rows (n + 1) + 4 n) * kScanGroup floats
};

// Over all rows of a sequence, ascending. dy = dout silu'(y) with y computed again, or dout:
//   dweight[k] = fma(dy_t, x_{t - width + 1 + k}, dweight[k]);  dbias = dbias + dy_t
//   dx_j = +0, or dout_j for kConvAddInput; then fma(weight[width - 1 - i], dy_{j + i}, dx_j) for i ascending
// The history has no gradient (a state passed from an earlier row, or zeros).
struct ConvBackwardArgs {
  ConvArgs forward;  // out is not used
  const float* dout;
  int64_t dout_stride;
  float* dx;  // overlaps no input
  int64_t dx_stride;
  float* dweight;  // [width, ..], added to
  int64_t dweight_stride;
  float* dbias;  // [channels], added to; null without bias
};

// One row. x^ = (x - mean) scale with mean and scale as in the forward (rms_norm: mean 0), g = dy weight:
//   dx = scale (g - x^ m2), m2 = sum(g x^) / n;  layer_norm: dx = scale (g - m1 - x^ m2), m1 = sum(g) / n
struct NormBackwardArgs {
  const float *x, *weight, *dy;  // [n]
  int64_t n;
  float eps;
  float* dx;     // may be x or dy
  float* stats;  // [2]: left as {mean, scale}, for norm_weight
};

// out = fma(g, m, (1 - g) a), one row: dm = dout g, da = dout (1 - g), dg = dout (m - a); with one gate for
// all, dg[0] is the sum over the lanes and tree of rms_norm.
struct MixBackwardArgs {
  const float* gate;
  int64_t gate_step;
  const float *m, *a, *dout;
  int64_t n;
  float *dg, *dm, *da;  // none may be an input
};

// Attention: `heads` query heads of one KV head, ascending, against one key block, over all queries given.
// Query i, at position first_position + i, sees a key as in the forward. With P = exp(score - max) *
// inverse_sum (score as in the forward, by one fma a product; 0 where not seen, by selection):
//   dP_j = sum_c dout_c v_jc;  dS = (P (dP - dot)) scale (0 where not seen)
//   dv_j += sum_i P dout;  dk_j += sum_i dS q (heads, then queries, ascending);  dq_i += sum_j dS k (j
//   ascending)
// Every sum is one fma a term, from +0 or from what is there. The sums over i and j leave out, by selection,
// the squares of 16 positions x 16 keys (aligned to position 0) in which no position sees a key: what a
// call's queries are cut into leaves the same bits, and a window costs what it sees. round: q, dout, P and dS
// are rounded to bf16 before they enter a product (P after dS is made of it).
constexpr int64_t kAttentionSquare = 16;
struct AttentionBackwardArgs {
  const float *k, *v;  // [keys, kv_stride]: as the forward read them, widened
  int64_t kv_stride;
  int64_t keys, first_key;  // written ones, 1..64; position of key 0, a multiple of 64
  const float *q, *dout;    // row (i, h) at + i * stride + h * d
  int64_t q_stride, dout_stride;
  const float *max, *inverse_sum, *dot;  // (i, h) at + i * statistics_stride + h; dot: of attention_dots
  int64_t statistics_stride;
  int64_t queries, heads, d;
  int64_t first_position, window;  // window 0: sees all
  float scale;
  bool round;
  float* dq;  // row (i, h) as q's; added to
  int64_t dq_stride;
  float *dk, *dv;  // [keys, dkv_stride], added to
  int64_t dkv_stride;
  void* scratch;  // kScratchBytes
};

struct BackwardOps {
  void (*apply[kFunctions])(const float* x, const float* dy, int64_t n,
                            float* dx);  // dx = dy f'(x); may be x or dy
  void (*conv)(const ConvBackwardArgs* args);
  void (*scan)(const ScanBackwardArgs* args);
  void (*rms_norm)(const NormBackwardArgs* args);
  void (*layer_norm)(const NormBackwardArgs* args);
  // One row, any range of columns: dweight = fma(dy, (x - mean) scale, dweight); dbias = dbias + dy (or
  // null).
  void (*norm_weight)(const float* x, const float* dy, const float* stats, int64_t n, float* dweight,
                      float* dbias);
  void (*mix)(const MixBackwardArgs* args);
  void (*rope)(float* dx, const float* cos, const float* sin,
               int64_t half);  // in place: the inverse rotation
  void (*attention)(const AttentionBackwardArgs* args);
  // One row: dots[h] = sum(dout out) of head h (at h * d) over the lanes and tree of rms_norm, one fma a
  // term; dout rounded to bf16 first with `round`, as the products read it.
  void (*attention_dots)(const float* out, const float* dout, int64_t heads, int64_t d, bool round,
                         float* dots);
};

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_TABLE_BACKWARD_H_
