// What line charts and heat maps share: the look, the panel's title, the frame with its axes.
#ifndef FUSIONTREE_REPORT_PLOT_FRAME_H_
#define FUSIONTREE_REPORT_PLOT_FRAME_H_

#include <string>
#include <vector>

#include "report/axis.h"
#include "report/drawing.h"
#include "report/plot.h"

namespace fusiontree::report {

// Sizes of letters, in CSS pixels.
constexpr double kFigureTitleSize = 19, kTitleSize = 15, kAxisSize = 13, kTickSize = 12;
constexpr Colour kInk = {0x22, 0x22, 0x22}, kQuietInk = {0x55, 0x55, 0x55};
constexpr Colour kGrid = {0xe4, 0xe4, 0xe4}, kFrameLine = {0x99, 0x99, 0x99}, kNothing = {0xdd, 0xdd, 0xdd};
constexpr double kGap = 8;  // between neighbouring texts

void AddLine(Point from, Point to, Colour colour, double width, Drawing* drawing);
void AddText(Point at, std::string text, double size, Colour colour, Anchor anchor, Drawing* drawing);
// Centred on `middle`, cut to `room`, reading upward.
void AddUpwardText(Point middle, const std::string& text, double room, Drawing* drawing);

// The panel's title, cut to its width; what remains of the panel below it.
Box AddTitle(const std::string& title, Box panel, Drawing* drawing);

// Ticks of a horizontal axis `width` long: as many as their labels leave room for.
std::vector<Tick> HorizontalTicks(const Axis& axis, const ValueRange& range, double width);
// Ticks of a vertical axis `height` long, and the room its labels take.
std::vector<Tick> VerticalTicks(const Axis& axis, const ValueRange& range, double height);
constexpr double kLeastLabelWidth = 42;  // so that the plots of a column begin at one line
double WidestLabel(const std::vector<Tick>& ticks);

// Labels and axis title below `plot`; grid lines inside it when asked.
void AddHorizontalAxis(const Axis& axis, const ValueRange& range, Box plot, bool grid, Drawing* drawing);
constexpr double kHorizontalAxisHeight = 2 * kGap + kTickSize + kAxisSize + 2;
// Room at the right of a plot for the half of the last label that reaches over its edge.
constexpr double kRightMargin = 22;

void DrawLineChart(const LineChart& chart, Box panel, Drawing* drawing);
void DrawHeatMap(const HeatMap& map, Box panel, Drawing* drawing);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_PLOT_FRAME_H_
