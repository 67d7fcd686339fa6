// Numbers as people read them.
#ifndef FUSIONTREE_REPORT_UNITS_H_
#define FUSIONTREE_REPORT_UNITS_H_

#include <cstdint>
#include <string>

#include "base/grouped.h"

namespace fusiontree::report {

std::string Bytes(double bytes);      // "98.4 MB": powers of 1000, as file sizes and bandwidths are given
std::string Count(double count);      // "134.5 M"
std::string Seconds(double seconds);  // "3.2 ms", "1.25 s", "4 min 10 s"
using base::Grouped;                  // "134,515,008"

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_UNITS_H_
