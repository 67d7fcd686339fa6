// Where an axis begins and ends, and its tick labels.
#ifndef FUSIONTREE_REPORT_AXIS_H_
#define FUSIONTREE_REPORT_AXIS_H_

#include <string>
#include <vector>

namespace fusiontree::report {

// Values of this size or larger, and what is not a number, are gaps: differences of the others are finite.
constexpr double kLargestDrawn = 1e300;
bool Drawable(double value, bool log);  // on a logarithmic axis only positive values are

// Least and greatest of the drawable values seen.
struct ValueRange {
  double low = 0, high = 0;
  bool empty = true;
  void Add(double value, bool log);
};

// A range that can be divided: where the values are one value, some room around it; `margin` is the share
// of the range (of its logarithm) that is added at both ends.
ValueRange Widened(ValueRange range, bool log, double margin);

struct Tick {
  double value;
  std::string label;
};

// Round values within the range, 1, 2 or 5 times a power of ten apart: as many as there can be up to `count`
// (>= 2), perhaps none; `whole`: only whole numbers. low < high. All labels have the same number of decimals.
std::vector<Tick> LinearTicks(double low, double high, int count, bool whole);

// Powers of ten within the range; with 2 and 5 between them where that leaves room, and the round values of a
// linear axis where the range is too short for either. 0 < low < high.
std::vector<Tick> LogTicks(double low, double high, int count);

// Where the value lies between the ends: 0 at low, 1 at high, clamped.
double Share(double value, const ValueRange& range, bool log);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_AXIS_H_
