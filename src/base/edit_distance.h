// For "did you mean".
#ifndef FUSIONTREE_BASE_EDIT_DISTANCE_H_
#define FUSIONTREE_BASE_EDIT_DISTANCE_H_

#include <cstddef>
#include <string_view>

namespace fusiontree::base {

// Single-character changes between two short words.
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_EDIT_DISTANCE_H_
