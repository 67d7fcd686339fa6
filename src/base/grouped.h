// Numbers for people.
#ifndef FUSIONTREE_BASE_GROUPED_H_
#define FUSIONTREE_BASE_GROUPED_H_

#include <cstdint>
#include <string>

namespace fusiontree::base {

std::string Grouped(int64_t value);  // 12,345

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_GROUPED_H_
