// The tables of avx512bf16 and amx: avx512's, with bf16 products and bf16 attention replaced. Compiled for
// the base instruction set: building a table must not need the processor it is for.
#include "kernels/bf16_variants.h"

namespace fusiontree::kernels {
namespace {

Table Override(const char* name, const Table& avx512, const Bf16Ops& ops) {
  Table table = avx512;
  table.name = name;
  table.matrix[kBf16Bf16] = ops.matrix;
  table.attention[kAttentionBf16] = ops.attention;
  return table;
}

}  // namespace

const Table* Avx512Bf16Table() {
  if (Avx512Table() == nullptr) return nullptr;
  static const Table table = Override("avx512bf16", *Avx512Table(), *Avx512Bf16Ops());
  return &table;
}
const Table* AmxTable() {
  if (Avx512Table() == nullptr) return nullptr;
  static const Table table = Override("amx", *Avx512Table(), *AmxOps());
  return &table;
}

}  // namespace fusiontree::kernels
