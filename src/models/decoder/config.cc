#include "models/decoder/config.h"

#include <cmath>
#include <numbers>

#include "models/decoder/family.h"
#include "models/rope.h"

namespace fusiontree::models {
namespace {

// S of R2: the largest s <= 8 that divides the heads and every sliced length, and fits the KV heads.
bool ValidSlices(const DecoderConfig& c, int64_t s) {
  return c.num_heads % s == 0 && c.intermediate_size % s == 0 && (c.num_heads * c.head_dim) % s == 0 &&
         (c.num_kv_heads % s == 0 || s % c.num_kv_heads == 0);
}

}  // namespace

base::Result<DecoderConfig> FinishConfig(DecoderConfig c, int64_t override_slices) {
  constexpr int64_t kMost = 1 << 24;  // keeps every product of two sizes far below 2^63
  for (int64_t size :
       {c.vocab_size, c.hidden_size, c.intermediate_size, c.num_heads, c.head_dim, c.max_positions})
    if (size < 1 || size > kMost)
      return base::BadInput("config: a size of {} is out of range (1 to {})", size, kMost);
  if (c.num_layers < 1 || c.num_layers > 4096)
    return base::BadInput("config: {} layers are out of range (1 to 4096)", c.num_layers);
  if (c.num_kv_heads < 1 || c.num_heads % c.num_kv_heads != 0)
    return base::BadInput("config: {} attention heads cannot share {} key/value heads evenly", c.num_heads,
                          c.num_kv_heads);
  if (c.head_dim % 2 != 0 || c.head_dim > 256)
    return base::BadInput("config: a head size of {} is not supported (even, at most 256)", c.head_dim);
  if (c.num_heads / c.num_kv_heads > 64)
    return base::BadInput("config: {} query heads for each key/value head are more than 64",
                          c.num_heads / c.num_kv_heads);
  if (!(c.norm_eps > 0.0) || c.norm_eps > 1.0)
    return base::BadInput("config: a norm epsilon of {} is out of range", c.norm_eps);
  if (!(c.rope.theta > 0.0) || c.rope.theta > 1e15)
    return base::BadInput("config: a rope_theta of {} is out of range", c.rope.theta);
  if (!(c.rope.factor > 0.0) || c.rope.factor > 1e6)
    return base::BadInput("config: a rope scaling factor of {} is out of range", c.rope.factor);
  c.usual_positions = c.max_positions;
  if (c.windows.empty()) c.windows.assign(static_cast<size_t>(c.num_layers), 0);
  for (int64_t id : c.eos_ids)
    if (id < 0 || id >= c.vocab_size)
      return base::BadInput("config: eos_token_id {} is outside the vocabulary of {}", id, c.vocab_size);
  if (c.bos_id >= c.vocab_size)
    return base::BadInput("config: bos_token_id {} is outside the vocabulary of {}", c.bos_id, c.vocab_size);
  if (override_slices != 0) {
    if (override_slices < 1 || override_slices > 8 || !ValidSlices(c, override_slices))
      return base::BadInput("config: reduction_slices {} does not divide the heads and widths of this model",
                            override_slices);
    c.reduction_slices = override_slices;
  } else {
    c.reduction_slices = 8;
    while (!ValidSlices(c, c.reduction_slices)) --c.reduction_slices;
  }
  return c;
}

std::vector<float> InverseFrequencies(const DecoderConfig& config) {
  const RopeConfig& rope = config.rope;
  const int64_t half = config.head_dim / 2;
  std::vector<float> result = RopeFrequencies(rope.theta, config.head_dim);
  for (int64_t i = 0; i < half; ++i) {
    float f = result[static_cast<size_t>(i)];
    if (!rope.factors.empty()) f = f / rope.factors[static_cast<size_t>(i)];
    if (rope.scaling == RopeConfig::Scaling::kLinear) {
      f = f / static_cast<float>(rope.factor);
    } else if (rope.scaling == RopeConfig::Scaling::kLlama3) {
      const double length = static_cast<double>(rope.original_max_position);
      const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / f;
      if (wavelength > static_cast<float>(length / rope.low_freq_factor)) {
        f = f / static_cast<float>(rope.factor);
      } else if (wavelength >= static_cast<float>(length / rope.high_freq_factor)) {
        const float smooth =
            (static_cast<float>(length) / wavelength - static_cast<float>(rope.low_freq_factor)) /
            static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
        f = (1.0f - smooth) * f / static_cast<float>(rope.factor) + smooth * f;
      }
    }
    result[static_cast<size_t>(i)] = f;
  }
  return result;
}

}  // namespace fusiontree::models
