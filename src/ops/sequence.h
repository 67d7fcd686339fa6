// Operations along the tokens of each sequence of a ragged batch: causal depthwise convolution and selective
// scan (R5 of docs/numerics.md: time order per channel, fp32 state).
//
// Channels are cut over threads, time never. Channel-wise memory lies whole panels apart and holds zeros past
// the last channel.
#ifndef FUSIONTREE_OPS_SEQUENCE_H_
#define FUSIONTREE_OPS_SEQUENCE_H_

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace fusiontree::ops {

// Rows [first_row, first_row + count) of the batch are one sequence's; `state` is what it left behind and is
// left as after its last row.
struct StateSpan {
  int64_t first_row;
  int64_t count;
  float* state;  // rows `state_stride` apart
  int64_t state_stride;
};

struct Convolution {
  int64_t width = 0;              // K >= 1
  int64_t channels = 0;           // a multiple of kernels::kPanel: with the padding
  const float* weight = nullptr;  // [K, channels], tap K - 1 meets the present row
  const float* bias = nullptr;    // [channels] or null
  kernels::ConvEnd end = kernels::kConvSilu;
  float *dweight = nullptr, *dbias = nullptr;  // of a model that is trained
};

// out [T, out_stride] of x [T, x_stride]; `state` holds the last K - 1 inputs, oldest first (none for K = 1).
// Cost: 2·K flops an element.
void Convolve(Context& context, const Convolution& convolution, const std::vector<StateSpan>& spans,
              const float* x, int64_t x_stride, float* out, int64_t out_stride);

// s = exp(Δ A) s + (Δ x) Bᵀ; y = s C + D x; out = y silu(z).
struct SelectiveScan {
  int64_t n = 0;                          // N
  int64_t channels = 0;                   // D of this rank, with the padding
  const float* a = nullptr;               // [N, channels]: -exp(A_log) log2(e)
  const float* skip = nullptr;            // D, [channels]
  float *da = nullptr, *dskip = nullptr;  // of a model that is trained: of a ln 2, and of D
};
struct ScanInputs {
  const float *x, *delta, *z;  // [T, strides]; delta after softplus
  int64_t x_stride, delta_stride, z_stride;
  const float *b, *c;  // [T, bc_stride], N columns
  int64_t bc_stride;
};
// `state`: [N, state_stride]. Cost: about 6·N flops and an exponential a state, x, delta, z and out are read
// and written once, in pieces of rows that stay in cache.
void Scan(Context& context, const SelectiveScan& scan, const std::vector<StateSpan>& spans,
          const ScanInputs& in, float* out, int64_t out_stride);

// Gradients. What a forward saw before each span's first row: of a convolution the state, of a scan the state
// before each piece of kernels::kScanChunk rows. They have no gradient themselves.
struct SavedStates {
  const float* first;  // span after span: [K - 1, channels], or for each piece [N, channels]
};
// dx [T, dx_stride] is added to, the convolution's own gradients too.
void ConvolveBackward(Context& context, const Convolution& convolution, const std::vector<StateSpan>& spans,
                      const SavedStates& saved, const float* x, int64_t x_stride, const float* dout,
                      int64_t dout_stride, float* dx, int64_t dx_stride);
// d-something of the inputs, with their strides, is stored: of x, delta and z the scan is the last user, of b
// and c the only one.
struct ScanGradients {
  float *x, *delta, *z, *b, *c;
};
void ScanBackward(Context& context, const SelectiveScan& scan, const std::vector<StateSpan>& spans,
                  const SavedStates& saved, const ScanInputs& in, const float* dout, int64_t dout_stride,
                  const ScanGradients& out);

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_SEQUENCE_H_
