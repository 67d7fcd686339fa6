#include "data/permutation.h"

#include <bit>

#include "base/check.h"
#include "base/philox.h"

namespace fusiontree::data {

Permutation::Permutation(uint64_t n, uint64_t key, uint64_t stream) : n_(n), key_(key), stream_(stream) {
  FT_CHECK(n >= 1 && n <= uint64_t{1} << 62);
  const int bits = n == 1 ? 1 : std::bit_width(n - 1);
  low_bits_ = (bits + 1) / 2;
  high_bits_ = bits - low_bits_;
}

uint64_t Permutation::operator()(uint64_t i) const {
  if (n_ == 1) return 0;
  const uint64_t low_mask = (uint64_t{1} << low_bits_) - 1, high_mask = (uint64_t{1} << high_bits_) - 1;
  // Halves are not swapped but take turns, because they may differ by a bit.
  do {
    uint64_t low = i & low_mask, high = i >> low_bits_;
    for (uint64_t round = 0; round < 8; round += 2) {
      const auto a = base::Philox(key_, low | round << 40, stream_);
      high ^= (uint64_t{a[0]} << 32 | a[1]) & high_mask;
      const auto b = base::Philox(key_, high | (round + 1) << 40, stream_);
      low ^= (uint64_t{b[0]} << 32 | b[1]) & low_mask;
    }
    i = high << low_bits_ | low;
  } while (i >= n_);
  return i;
}

uint64_t KeyFor(uint64_t seed, uint64_t purpose, uint64_t index) {
  const auto bits = base::Philox(seed, index, purpose);
  return uint64_t{bits[0]} << 32 | bits[1];
}

}  // namespace fusiontree::data
