#include "base/policy.h"

#include <fmt/format.h>

#include "base/hash.h"

namespace fusiontree::base {

std::string NumericsPolicy::Text() const {
  return fmt::format(
      "numerics {}, {}, weights {}, cache {}, slices {}, key block {}, split {}, vocabulary block {}",
      kNumericsVersion, variant, type, cache_type, reduction_slices, key_block, split_keys, vocab_block);
}

std::string NumericsPolicy::Fingerprint() const { return fmt::format("fp_{:016x}", Hash(Text())); }

}  // namespace fusiontree::base
