#include "kernels/table.h"
namespace fusiontree::kernels {
const Table* Avx512Table() { return nullptr; }
}  // namespace fusiontree::kernels
