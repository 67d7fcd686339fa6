// The tables of avx512bf16 and amx: avx512's, with bf16 products and bf16 attention replaced. Compiled for the base
// instruction set: building a table must not need the processor it is for.
#include "kernels/bf16_variants.h"

namespace fusiontree::kernels {
namespace {

Table Override(const char* name, const Bf16Ops& ops) {
  Table table = *Avx512Table();
  table.name = name;
  table.matrix[kBf16Bf16] = ops.matrix;
  table.attention[kAttentionBf16] = ops.attention;
  return table;
}

}  // namespace

const Table* Avx512Bf16Table() {
  static const Table table = Override("avx512bf16", *Avx512Bf16Ops());
  return &table;
}
const Table* AmxTable() {
  static const Table table = Override("amx", *AmxOps());
  return &table;
}

}  // namespace fusiontree::kernels
