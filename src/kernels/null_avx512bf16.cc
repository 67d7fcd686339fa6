// Stands for the variant avx512bf16 in a build without it.
#include "kernels/table.h"

namespace fusiontree::kernels {

const Table* Avx512Bf16Table() { return nullptr; }

}  // namespace fusiontree::kernels
