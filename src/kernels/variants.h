// The variants this build knows, which of them this processor can run, and why not the others (R1, R12).
#ifndef FUSIONTREE_KERNELS_VARIANTS_H_
#define FUSIONTREE_KERNELS_VARIANTS_H_

#include <span>
#include <string>
#include <string_view>

#include "kernels/table.h"

namespace fusiontree::kernels {

struct Variant {
  const char* name;     // as --isa takes it
  const Table* table;   // null when `missing` is not empty
  const Table* twin;    // the plain loops that give its bits
  std::string missing;  // why it cannot run here: "this processor has no AVX-512"; empty: it can
};

// ref, avx2, avx512, avx512bf16, amx: slowest first. Computed once; a variant that this processor has is
// first held against its twin on a few dozen dot products, and refused if one bit differs. Any thread may
// call.
std::span<const Variant> Variants();

const Variant* Find(std::string_view name);  // null when there is no variant of that name
bool Supported(std::string_view name);
const Variant& Best();  // the last that is not missing; ref always is there

// The check of the start: dot products with every matrix kind, at lengths with tails, in batches and alone.
// Empty when every bit agrees, else what differed.
std::string SelfCheck(const Table& table, const Table& twin);

}  // namespace fusiontree::kernels

#endif  // FUSIONTREE_KERNELS_VARIANTS_H_
