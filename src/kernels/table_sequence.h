// Part of table.h: elementwise functions and channel-wise operations on sequences.
#ifndef FUSIONTREE_KERNELS_TABLE_SEQUENCE_H_
#define FUSIONTREE_KERNELS_TABLE_SEQUENCE_H_

#include <stdint.h>

namespace fusiontree::kernels {

// One polynomial each per contract (R6). NaN gives NaN, an infinity the limit; below -92 silu is -0.
enum Function : uint8_t {
  kSilu = 0,      // x / (1 + exp(-x))
  kGelu = 1,      // x Phi(x), the exact (erf) form
  kTanh = 2,      //
  kSigmoid = 3,   // 1 / (1 + exp(-x))
  kSoftplus = 4,  // log(1 + exp(x)), relatively accurate over the whole range
};
constexpr int kFunctions = 5;

// Channel-wise operations on sequences: channel ranges are multiples of 16, strides whole vectors, memory
// past the logical width holds zeros. `rows` consecutive rows of one sequence; calls that cut the rows
// anywhere and carry the state (or the last inputs) give the same bits as one call.
enum ConvEnd : uint8_t {
  kConvSilu,      // out = silu(y)
  kConvAddInput,  // out = x + y
};

// Causal depthwise convolution: y_t = bias (or +0), then y_t = fma(weight[k], x_{t - width + 1 + k}, y_t) for
// k ascending.
struct ConvArgs {
  const float* x;  // row t at x + t * x_stride
  int64_t x_stride;
  const float*
      history;  // [width - 1, ..]: the inputs before row 0, oldest first (zeros at a sequence's start)
  int64_t history_stride;
  const float* weight;  // [width, ..]: tap k of channel c at weight[k * weight_stride + c]
  int64_t weight_stride;
  const float* bias;  // [channels], or null
  int64_t rows, width, channel_begin, channel_end;
  ConvEnd end;
  float* out;  // overlaps neither x nor history
  int64_t out_stride;
};

// The selective scan (R5). Per channel c, row t and state n ascending:
//   e = 2^(delta a_n), the product unrounded (0 below 2^-125.5), s_n = fma(e, s_n, (delta x) b_n),
//   y = fma(s_n, c_n, y) from +0;   y = fma(skip, x, y);   out = y * silu(z).
// delta >= 0 and a <= 0.
struct ScanArgs {
  const float *x, *delta, *z;  // delta after softplus; z null: no gate
  int64_t x_stride, delta_stride, z_stride;
  const float *b, *c;  // [rows, n] each
  int64_t bc_stride;
  const float* a;  // [n, ..]: -exp(A_log) * log2(e)
  int64_t a_stride;
  const float* skip;  // [channels]: D
  float* state;       // [n, ..]: read, and left as after the last row
  int64_t state_stride;
  int64_t rows, n, channel_begin, channel_end;
  float* out;  // may be x, delta or z with its stride
  int64_t out_stride;
};

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_TABLE_SEQUENCE_H_
