#include "base/policy.h"

#include <fmt/format.h>

namespace fusiontree::base {

std::string NumericsPolicy::Text() const {
  return fmt::format(
      "numerics {}, {}, weights {}, cache {}, slices {}, key block {}, split {}, vocabulary block {}",
      kNumericsVersion, variant, type, cache_type, reduction_slices, key_block, split_keys, vocab_block);
}

std::string NumericsPolicy::Fingerprint() const {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a, 64 bits
  for (char c : Text()) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return fmt::format("fp_{:016x}", hash);
}

}  // namespace fusiontree::base
