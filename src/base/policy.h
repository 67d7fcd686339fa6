// The numerics policy (R12 of docs/numerics.md): everything that decides bits beside checkpoint and tokens.
// Runs whose fingerprints are equal give equal logits.
#ifndef FUSIONTREE_BASE_POLICY_H_
#define FUSIONTREE_BASE_POLICY_H_

#include <cstdint>
#include <string>

namespace fusiontree::base {

constexpr const char* kProgramVersion = "0.1.0";

// Raised whenever a change alters any bit of any result. 2: silu is -0 below -92, where it grew again.
constexpr int kNumericsVersion = 2;

struct NumericsPolicy {
  std::string variant;           // instruction-set variant: "avx2"
  std::string type;              // of weights and products: "bf16"
  std::string cache_type;        // "bf16", "f32"
  int64_t reduction_slices = 1;  // S of R2
  int64_t key_block = 0, split_keys = 0, vocab_block = 0;

  std::string Text() const;         // one line: "numerics 2, avx2, bf16, ..."
  std::string Fingerprint() const;  // "fp_" and 16 hexadecimal digits of Text
};

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_POLICY_H_
