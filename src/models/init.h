// A fresh checkpoint: every tensor of a spec with its initial values, drawn by Philox (R8) from a seed and
// the tensor's name alone.
#ifndef FUSIONTREE_MODELS_INIT_H_
#define FUSIONTREE_MODELS_INIT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "models/spec.h"

namespace fusiontree::models {

// By its name and shape (docs/fusiontree.md, Initialisation): A_log = log(1..N) along each row; D = 1;
// dt_proj.bias such that softplus(bias) is log-uniform in [0.001, 0.1]; dt_proj.weight uniform ±R^(-1/2);
// convolutions uniform ±width^(-1/2), the mixer's bias too; matrices normal with the config's deviation,
// fuse.wf and mlp.m2 scaled by 1/sqrt(2 layers); other biases 0; norm weights 1. `count` values of the tensor
// from element `first` on.
struct InitSettings {
  double deviation = 0.02;
  int64_t num_layers = 1;
  int64_t conv_width = 1;  // of the mixers
};
void InitialValues(const TensorRule& tensor, const InitSettings& settings, uint64_t seed, int64_t first,
                   int64_t count, float* out);

// Writes model.safetensors of the spec into an existing folder, matrices and vectors as `type` (F32, BF16 or
// F16), those that must be fp32 so. Holds a few megabytes at a time.
base::Status WriteInitialWeights(const Spec& spec, uint64_t seed, tensor::DType type,
                                 const std::string& folder, const std::function<void(double)>& progress);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_INIT_H_
