// Stands for the variant amx in a build without it.
#include "kernels/table.h"

namespace fusiontree::kernels {

const Table* AmxTable() { return nullptr; }

}  // namespace fusiontree::kernels
