// The Mamba-1 mixer (Gu and Dao, 2023; the function of Hugging Face's MambaMixer): y = W_out · (s C + D x̃)
// silu(z), [z_x ; z] = W_in u, x̃ = silu(conv(z_x)), [δ ; B ; C] = W_x x̃, Δ = softplus(W_Δ δ + b_Δ), s = exp(Δ
// A) s + (Δ x̃) Bᵀ. A rank of several holds some of the D channels.
#ifndef FUSIONTREE_NN_MAMBA_H_
#define FUSIONTREE_NN_MAMBA_H_

#include <cstdint>

#include "cache/batch.h"
#include "nn/parallel_linear.h"
#include "nn/state_view.h"
#include "ops/norm.h"
#include "ops/sequence.h"

namespace fusiontree::nn {

struct MambaWeights {
  ops::Matrix in;  // stacked: z_x at column 0, z at z_column
  int64_t z_column = 0;
  ops::Convolution conv;  // width 0: none
  ops::Matrix x;          // stacked: δ at column 0, B and C at the columns below
  int64_t b_column = 0, c_column = 0;
  ops::Norm dt_norm, b_norm, c_norm;  // each or none
  ops::Matrix dt;
  ops::SelectiveScan scan;
  ops::Matrix out;
  int64_t rank = 0;                       // R, width of δ
  Part part;                              // of the channels
  size_t conv_state = 0, scan_state = 0;  // numbers in the cache layout
};

// rows: packed inputs of `batch`; y [T, stride]: the result (kStore), or what it is added to (kAdd). `layer`
// is for the probe.
void RunMamba(ops::Context& context, const MambaWeights& weights, const ops::Rows& rows,
              const cache::Batch& batch, int layer, kernels::Epilogue end, float* y, int64_t stride,
              uint8_t* row_ok);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_MAMBA_H_
