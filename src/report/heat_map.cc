#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "report/plot_frame.h"

namespace fusiontree::report {
namespace {

// Evenly spaced; between them colours are mixed in sRGB. The first are viridis' own.
constexpr Colour kSequentialStops[] = {{0x44, 0x01, 0x54}, {0x47, 0x2d, 0x7b}, {0x3b, 0x52, 0x8b},
                                       {0x2c, 0x72, 0x8e}, {0x21, 0x91, 0x8c}, {0x28, 0xae, 0x80},
                                       {0x5e, 0xc9, 0x62}, {0xad, 0xdc, 0x30}, {0xfd, 0xe7, 0x25}};
constexpr Colour kDivergingStops[] = {{0x1a, 0x43, 0x80}, {0x3b, 0x7f, 0xb8}, {0x9c, 0xc5, 0xdf},
                                      {0xf4, 0xf2, 0xec}, {0xf6, 0xb9, 0x76}, {0xd9, 0x73, 0x1e},
                                      {0x8f, 0x3b, 0x02}};
constexpr double kBarWidth = 14, kBarGap = 16;
constexpr double kLeastCellWidth = 2;  // CSS pixels
constexpr int kBarSteps = 64;
constexpr double kRowLabelShare = 0.25;  // of the panel's width, at most

Colour ColourAt(double share, ColourMap map) {
  const Colour* stops = map == ColourMap::kSequential ? kSequentialStops : kDivergingStops;
  const size_t last =
      (map == ColourMap::kSequential ? std::size(kSequentialStops) : std::size(kDivergingStops)) - 1;
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(last);
  const size_t below = std::min(static_cast<size_t>(at), last - 1);
  const double part = at - static_cast<double>(below);
  const auto mix = [part](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a + (b - a) * part + 0.5); };
  const Colour &a = stops[below], &b = stops[below + 1];
  return {mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)};
}

double OnHalfPixel(double length) { return std::round(length * 2) / 2; }

void AddCell(double left, double top, double right, double bottom, Colour fill, Drawing* drawing) {
  const Box box = {OnHalfPixel(left), OnHalfPixel(top), OnHalfPixel(right) - OnHalfPixel(left),
                   OnHalfPixel(bottom) - OnHalfPixel(top)};
  if (box.width > 0 && box.height > 0) drawing->shapes.push_back(BoxShape{box, fill});
}

// Neighbouring columns that share a cell of the picture, and that cell's edges as values of x.
struct Cell {
  size_t begin, end;
  double left, right;
};

std::vector<Cell> Cells(const std::vector<double>& columns, double width) {
  const size_t n = columns.size();
  const auto edge =
      [&](size_t i) {  // between columns i - 1 and i; the outer ones are as far out as the next in
        if (n == 1) return columns[0] + (i == 0 ? -0.5 : 0.5);
        if (i == 0) return columns[0] - (columns[1] - columns[0]) / 2;
        if (i == n) return columns[n - 1] + (columns[n - 1] - columns[n - 2]) / 2;
        return (columns[i - 1] + columns[i]) / 2;
      };
  const double least = (edge(n) - edge(0)) / width * kLeastCellWidth;
  std::vector<Cell> cells;
  for (size_t begin = 0; begin < n;) {
    size_t end = begin + 1;
    while (end < n && edge(end) - edge(begin) < least * (1 - 1e-9)) ++end;
    cells.push_back({begin, end, edge(begin), edge(end)});
    begin = end;
  }
  return cells;
}

void DrawCells(const HeatMap& map, const std::vector<Cell>& cells, const ValueRange& x, Box plot,
               Drawing* drawing) {
  const double row_height = plot.height / static_cast<double>(map.rows.size());
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double bottom = plot.bottom() - static_cast<double>(r) * row_height;
    const double* values = map.values_RC.data() + r * map.columns.size();
    Colour current = kNothing;
    double from = plot.x;
    for (const Cell& cell : cells) {
      double sum = 0;
      size_t count = 0;
      for (size_t c = cell.begin; c < cell.end; ++c) {
        if (!Drawable(values[c], false)) continue;
        sum += values[c];
        ++count;
      }
      const Colour fill =
          count == 0
              ? kNothing
              : ColourAt((sum / static_cast<double>(count) - map.low) / (map.high - map.low), map.colours);
      const double left = plot.x + Share(cell.left, x, false) * plot.width;
      // Cells of one colour are one box.
      if (!(fill == current)) {
        AddCell(from, bottom - row_height, left, bottom, current, drawing);
        from = left;
        current = fill;
      }
    }
    AddCell(from, bottom - row_height, plot.right(), bottom, current, drawing);
  }
}

void AddColourBar(const HeatMap& map, const std::vector<Tick>& ticks, const ValueRange& range, Box plot,
                  double labels, Drawing* drawing) {
  const double left = plot.right() + kBarGap;
  for (int i = 0; i < kBarSteps; ++i) {
    const double top = plot.bottom() - plot.height * (i + 1) / kBarSteps;
    AddCell(left, top, left + kBarWidth, plot.bottom() - plot.height * i / kBarSteps,
            ColourAt((i + 0.5) / kBarSteps, map.colours), drawing);
  }
  for (const Tick& tick : ticks) {
    const double at = plot.bottom() - Share(tick.value, range, false) * plot.height;
    AddLine({left + kBarWidth, at}, {left + kBarWidth + 4, at}, kFrameLine, 1, drawing);
    AddText({left + kBarWidth + kGap, at + 0.36 * kTickSize}, tick.label, kTickSize, kQuietInk,
            Anchor::kStart, drawing);
  }
  AddUpwardText({left + kBarWidth + kGap + labels + kGap + kAxisSize / 2, plot.y + plot.height / 2},
                map.bar_title, plot.height, drawing);
}

void AddRowLabels(const HeatMap& map, double room, Box plot, Drawing* drawing) {
  const double row_height = plot.height / static_cast<double>(map.rows.size());
  size_t every = 1;
  for (const size_t candidate : {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}) {
    every = candidate;
    if (row_height * static_cast<double>(every) >= 1.25 * kTickSize) break;
  }
  for (size_t r = 0; r < map.rows.size(); r += every) {
    const double middle = plot.bottom() - (static_cast<double>(r) + 0.5) * row_height;
    AddText({plot.x - kGap, middle + 0.36 * kTickSize}, Shortened(map.rows[r], room + 0.01, kTickSize),
            kTickSize, kQuietInk, Anchor::kEnd, drawing);
  }
}

}  // namespace

void DrawHeatMap(const HeatMap& map, Box panel, Drawing* drawing) {
  FT_CHECK(!map.rows.empty() && !map.columns.empty() && map.low < map.high);
  FT_CHECK(map.values_RC.size() == map.rows.size() * map.columns.size());
  FT_CHECK(std::is_sorted(map.columns.begin(), map.columns.end()));
  const Box rest = AddTitle(map.title, panel, drawing);
  Box plot = {rest.x, rest.y, rest.width, rest.height - kHorizontalAxisHeight};
  const ValueRange bar = {map.low, map.high, false};
  const std::vector<Tick> ticks = VerticalTicks({}, bar, plot.height);
  double bar_labels = 0;
  for (const Tick& tick : ticks) bar_labels = std::max(bar_labels, TextWidth(tick.label, kTickSize));
  double row_labels = kLeastLabelWidth;
  for (const std::string& row : map.rows)
    row_labels = std::max(row_labels, std::min(TextWidth(row, kTickSize), kRowLabelShare * rest.width));
  const double left = kGap + (map.row_title.empty() ? 0 : kAxisSize + kGap) + row_labels + kGap;
  plot.x += left;
  plot.width -=
      left + kBarGap + kBarWidth + kGap + bar_labels + (map.bar_title.empty() ? 0 : kGap + kAxisSize) + kGap;

  const std::vector<Cell> cells = Cells(map.columns, plot.width);
  const ValueRange x = Widened({cells.front().left, cells.back().right, false}, false, 0);
  AddHorizontalAxis(map.x, x, plot, /*grid=*/false, drawing);
  DrawCells(map, cells, x, plot, drawing);
  AddRowLabels(map, row_labels, plot, drawing);
  AddUpwardText({panel.x + kGap + kAxisSize / 2, plot.y + plot.height / 2}, map.row_title, plot.height,
                drawing);
  AddColourBar(map, ticks, bar, plot, bar_labels, drawing);
}

}  // namespace fusiontree::report
