// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A draw is a pure function of its key and counter, never of how many draws came before (R8).
#ifndef FUSIONTREE_BASE_PHILOX_H_
#define FUSIONTREE_BASE_PHILOX_H_

#include <array>
#include <cstdint>

namespace fusiontree::base {

// 128 random bits for (key; counter high, counter low).
std::array<uint32_t, 4> Philox(uint64_t key, uint64_t counter_low, uint64_t counter_high);

// Uniform in [0, 1) with 53 bits.
inline double UnitDouble(uint32_t high, uint32_t low) {
  return static_cast<double>((uint64_t{high} << 21) ^ (low >> 11)) * 0x1p-53;
}

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_PHILOX_H_
