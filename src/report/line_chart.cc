#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "report/plot_frame.h"

namespace fusiontree::report {
namespace {

// Okabe and Ito's colours, which people with any of the common colour vision deficiencies can tell apart;
// without their yellow, too pale for a line.
constexpr Colour kPalette[] = {{0x00, 0x72, 0xb2}, {0xd5, 0x5e, 0x00}, {0x00, 0x9e, 0x73}, {0xcc, 0x79, 0xa7},
                               {0xe6, 0x9f, 0x00}, {0x56, 0xb4, 0xe9}, {0x22, 0x22, 0x22}};
constexpr size_t kColours = std::size(kPalette);
constexpr double kLineWidth = 1.8;
constexpr double kBandAlpha = 0.22;
constexpr size_t kDottedUpTo = 32;  // so few points are also marked each
constexpr size_t kLegendRows = 3;

Colour ColourOf(size_t series) { return kPalette[series % kColours]; }
// With all colours used once, lines of the other kind.
bool DashedOf(const std::vector<Series>& series, size_t i) {
  return series[i].dashed != (i / kColours % 2 == 1);
}

struct Frame {
  Box plot;
  ValueRange x, y;
  bool log_x = false, log_y = false;
  Point At(double px, double py) const {
    return {plot.x + Share(px, x, log_x) * plot.width, plot.bottom() - Share(py, y, log_y) * plot.height};
  }
};

ValueRange RangeOf(const Axis& axis, double margin, const ValueRange& seen) {
  ValueRange range = Widened(seen, axis.log, margin);
  if (axis.low && Drawable(*axis.low, axis.log)) range.low = *axis.low;
  if (axis.high && Drawable(*axis.high, axis.log)) range.high = *axis.high;
  if (range.low < range.high) return range;
  // The data lie beyond the end that was asked for.
  ValueRange end;
  end.Add(axis.low ? range.low : range.high, axis.log);
  return Widened(end, axis.log, margin);
}

// One run of points without a gap, thinned: of neighbours in one pixel column the first, the least, the
// greatest and the last, in their order.
std::vector<Point> Thinned(const std::vector<Point>& run) {
  std::vector<Point> out;
  for (size_t begin = 0; begin < run.size();) {
    size_t end = begin, least = begin, greatest = begin;
    for (; end < run.size() && std::floor(run[end].x) == std::floor(run[begin].x); ++end) {
      if (run[end].y < run[least].y) least = end;
      if (run[end].y > run[greatest].y) greatest = end;
    }
    std::vector<size_t> kept = {begin, least, greatest, end - 1};
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    for (const size_t i : kept) out.push_back(run[i]);
    begin = end;
  }
  return out;
}

// Calls `use` with each run of points between gaps, as it is on the picture.
template <typename Use>
void ForEachRun(const Frame& frame, const std::vector<double>& x, const std::vector<double>& y, Use use) {
  std::vector<Point> run;
  for (size_t i = 0; i <= x.size(); ++i) {
    if (i < x.size() && Drawable(x[i], frame.log_x) && Drawable(y[i], frame.log_y)) {
      run.push_back(frame.At(x[i], y[i]));
    } else if (!run.empty()) {
      use(run);
      run.clear();
    }
  }
}

void DrawBand(const Frame& frame, const Series& series, Colour colour, Drawing* drawing) {
  colour.alpha = kBandAlpha;
  // The outline of one pixel column a time: its lowest low and highest high.
  std::vector<Point> lows, highs;
  const auto finish = [&] {
    if (lows.size() > 1) {
      std::vector<Point> outline = lows;
      outline.insert(outline.end(), highs.rbegin(), highs.rend());
      drawing->shapes.push_back(PolygonShape{std::move(outline), colour});
    }
    lows.clear();
    highs.clear();
  };
  for (size_t i = 0; i < series.x.size(); ++i) {
    if (!Drawable(series.x[i], frame.log_x) || !Drawable(series.band_low[i], frame.log_y) ||
        !Drawable(series.band_high[i], frame.log_y)) {
      finish();
      continue;
    }
    const Point low = frame.At(series.x[i], series.band_low[i]);
    const Point high = frame.At(series.x[i], series.band_high[i]);
    if (!lows.empty() && std::floor(lows.back().x) == std::floor(low.x)) {
      lows.back().y = std::max(lows.back().y, low.y);
      highs.back().y = std::min(highs.back().y, high.y);
    } else {
      lows.push_back(low);
      highs.push_back(high);
    }
  }
  finish();
}

void DrawSeries(const Frame& frame, const Series& series, Colour colour, bool dashed, Drawing* drawing) {
  const bool dotted = series.x.size() <= kDottedUpTo;
  ForEachRun(frame, series.x, series.y, [&](const std::vector<Point>& run) {
    if (run.size() > 1) drawing->shapes.push_back(PolylineShape{Thinned(run), colour, kLineWidth, dashed});
    if (dotted || run.size() == 1)
      for (const Point& point : run) drawing->shapes.push_back(DotShape{point, 3, colour});
  });
}

// Rows of marks and names; returns what remains of the panel below.
Box AddLegend(const std::vector<Series>& series, Box panel, Drawing* drawing) {
  if (series.size() < 2) return panel;
  constexpr double kMark = 22, kRow = kTickSize + 7;
  const double left = panel.x + kGap, right = panel.right() - kGap;
  double x = left;
  size_t row = 0;
  for (size_t i = 0; i < series.size(); ++i) {
    const bool last = i + 1 == series.size();
    const std::string more = "and " + std::to_string(series.size() - i) + " more";
    std::string name = Shortened(series[i].name, right - left - kMark, kTickSize);
    const double width = kMark + TextWidth(name, kTickSize);
    const bool wraps = x > left && x + width > right;
    if (wraps && row + 1 < kLegendRows) {
      x = left;
      ++row;
    }
    const double baseline = panel.y + static_cast<double>(row) * kRow + kTickSize;
    // In the last row room is kept to say how many are left out.
    const double needed = width + (last ? 0 : 2 * kGap + TextWidth(more, kTickSize));
    if (row + 1 == kLegendRows && x + needed > right) {
      AddText({x, baseline}, more, kTickSize, kQuietInk, Anchor::kStart, drawing);
      break;
    }
    const double middle = baseline - 0.36 * kTickSize;
    drawing->shapes.push_back(
        PolylineShape{{{x, middle}, {x + kMark - 6, middle}}, ColourOf(i), 2.5, DashedOf(series, i)});
    AddText({x + kMark, baseline}, std::move(name), kTickSize, kInk, Anchor::kStart, drawing);
    x += width + 2 * kGap;
  }
  const double used = static_cast<double>(row + 1) * kRow + kGap / 2;
  return {panel.x, panel.y + used, panel.width, panel.height - used};
}

}  // namespace

void DrawLineChart(const LineChart& chart, Box panel, Drawing* drawing) {
  ValueRange x, y;
  for (const Series& s : chart.series) {
    FT_CHECK(s.x.size() == s.y.size() && s.band_low.size() == s.band_high.size());
    FT_CHECK(s.band_low.empty() || s.band_low.size() == s.x.size());
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!Drawable(s.x[i], chart.x.log)) continue;
      x.Add(s.x[i], chart.x.log);
      y.Add(s.y[i], chart.y.log);
      if (s.band_low.empty()) continue;
      y.Add(s.band_low[i], chart.y.log);
      y.Add(s.band_high[i], chart.y.log);
    }
  }
  Frame frame{{}, RangeOf(chart.x, 0, x), RangeOf(chart.y, 0.05, y), chart.x.log, chart.y.log};
  const Box rest = AddLegend(chart.series, AddTitle(chart.title, panel, drawing), drawing);
  frame.plot = {rest.x, rest.y, rest.width - kRightMargin, rest.height - kHorizontalAxisHeight};
  const std::vector<Tick> ticks = VerticalTicks(chart.y, frame.y, frame.plot.height);
  const double left = kGap + (chart.y.title.empty() ? 0 : kAxisSize + kGap) + WidestLabel(ticks) + kGap;
  frame.plot.x += left;
  frame.plot.width -= left;

  const Box& plot = frame.plot;
  if (x.empty || y.empty) {
    AddText({plot.x + plot.width / 2, plot.y + plot.height / 2}, "no data", kAxisSize, kQuietInk,
            Anchor::kMiddle, drawing);
    return;
  }
  for (const Tick& tick : ticks) {
    const double at = plot.bottom() - Share(tick.value, frame.y, chart.y.log) * plot.height;
    AddLine({plot.x, at}, {plot.right(), at}, kGrid, 1, drawing);
    AddText({plot.x - kGap, at + 0.36 * kTickSize}, tick.label, kTickSize, kQuietInk, Anchor::kEnd, drawing);
  }
  AddHorizontalAxis(chart.x, frame.x, plot, /*grid=*/true, drawing);
  AddUpwardText({panel.x + kGap + kAxisSize / 2, plot.y + plot.height / 2}, chart.y.title, plot.height,
                drawing);
  AddLine({plot.x, plot.bottom()}, {plot.right(), plot.bottom()}, kFrameLine, 1, drawing);
  AddLine({plot.x, plot.y}, {plot.x, plot.bottom()}, kFrameLine, 1, drawing);
  // Bands first: no line is hidden by the band of another.
  for (size_t i = 0; i < chart.series.size(); ++i)
    if (!chart.series[i].band_low.empty()) DrawBand(frame, chart.series[i], ColourOf(i), drawing);
  for (size_t i = 0; i < chart.series.size(); ++i)
    DrawSeries(frame, chart.series[i], ColourOf(i), DashedOf(chart.series, i), drawing);
}

}  // namespace fusiontree::report
