// What rotary positions of every family begin from.
#ifndef FUSIONTREE_MODELS_ROPE_H_
#define FUSIONTREE_MODELS_ROPE_H_

#include <cstdint>
#include <vector>

namespace fusiontree::models {

// 1 / theta^(2i / d), i < d / 2, as Transformers computes them: 1.0 / theta ** (arange(0, d, 2) / d), every
// step in fp32.
std::vector<float> RopeFrequencies(double theta, int64_t head_dim);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_ROPE_H_
