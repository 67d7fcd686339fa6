#include "models/rope.h"

#include "base/math.h"

namespace fusiontree::models {

std::vector<float> RopeFrequencies(double theta, int64_t head_dim) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    frequencies.push_back(1.0f / static_cast<float>(base::Pow(theta, static_cast<double>(exponent))));
  }
  return frequencies;
}

}  // namespace fusiontree::models
