// What a framework made of given ids, as `fusiontree logits --hidden` writes it.
#ifndef FUSIONTREE_VERIFY_DUMP_H_
#define FUSIONTREE_VERIFY_DUMP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace fusiontree::verify {

struct Dump {
  std::vector<int32_t> ids;   // [T]
  int64_t vocab_size = 0;     // V
  std::vector<float> logits;  // [T, V]
  std::vector<std::vector<float>>
      hidden;  // n_layers + 1 of [T, H]: entering each layer, after the final norm; or none
};

// `path`: a safetensors file with ids [T] i64, logits [T, V] and, if given, hidden_0 ... hidden_n [T, H]
// (f32, f16 or bf16); or, of several texts, with ids_0, logits_0, hidden_0_0 ..., ids_1, .... Any other
// tensor is an error.
base::Result<std::vector<Dump>> ReadDumps(const std::string& path);

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_DUMP_H_
