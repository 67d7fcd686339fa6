// Line charts and heat maps, alone or several in one picture, as SVG and PNG. The same data make the same
// bytes of SVG.
#ifndef FUSIONTREE_REPORT_PLOT_H_
#define FUSIONTREE_REPORT_PLOT_H_

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "report/drawing.h"

namespace fusiontree::report {

struct Axis {
  std::string title;
  bool log = false;                 // values that are not positive are gaps
  std::optional<double> low, high;  // where absent, from the data; values beyond are drawn at the edge
  bool whole = false;               // counts (steps, layers): no ticks between whole numbers
};

// Points are joined in their order. A value that is not finite is a gap; what stands alone between gaps is a
// dot. Of more points than pixels the first, least, greatest and last of each pixel are drawn.
struct Series {
  std::string name;                         // in the legend, which a chart of one series does not have
  std::vector<double> x, y;                 // [points]
  std::vector<double> band_low, band_high;  // [points], or both empty: a pale band behind the line
  bool dashed = false;                      // lets a line below it be seen
};

struct LineChart {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
};

enum class ColourMap {
  kSequential,  // dark violet to yellow: more is brighter
  kDiverging,   // blue, almost white in the middle, orange: less or more than the middle
};

// Cells are grey where the value is not finite. Of more columns than the picture can show, neighbours are
// averaged.
struct HeatMap {
  std::string title;
  Axis x;
  std::vector<double> columns;    // [columns] ascending: the middle of each
  std::string row_title;          // of the vertical axis
  std::vector<std::string> rows;  // [rows] lowest first; some are left out where there is no room
  std::vector<double> values_RC;  // [rows, columns]
  std::string bar_title;          // of the colour bar
  double low = 0, high = 1;       // ends of the colour bar: low < high
  ColourMap colours = ColourMap::kSequential;
};

using Panel = std::variant<LineChart, HeatMap>;

struct Figure {
  std::string title;  // above all panels, or empty
  std::vector<Panel> panels;
  int columns = 1;
  double panel_width = 860, panel_height = 330;  // CSS pixels
};

// At least one panel.
Drawing Draw(const Figure& figure);

// `path` + ".png" and `path` + ".svg", each complete or not there at all.
base::Status WritePictures(const Figure& figure, const std::string& path);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_PLOT_H_
