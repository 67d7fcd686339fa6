#include "report/plot.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "report/output_file.h"
#include "report/plot_frame.h"

namespace fusiontree::report {

void AddLine(Point from, Point to, Colour colour, double width, Drawing* drawing) {
  drawing->shapes.push_back(PolylineShape{{from, to}, colour, width});
}

void AddText(Point at, std::string text, double size, Colour colour, Anchor anchor, Drawing* drawing) {
  drawing->shapes.push_back(TextShape{at, std::move(text), size, colour, anchor});
}

void AddUpwardText(Point middle, const std::string& text, double room, Drawing* drawing) {
  if (text.empty()) return;
  TextShape shape{{middle.x + 0.35 * kAxisSize, middle.y}, Shortened(text, room, kAxisSize), kAxisSize, kInk};
  shape.anchor = Anchor::kMiddle;
  shape.upward = true;
  drawing->shapes.push_back(std::move(shape));
}

Box AddTitle(const std::string& title, Box panel, Drawing* drawing) {
  if (title.empty()) return {panel.x, panel.y + kGap, panel.width, panel.height - kGap};
  TextShape shape{{panel.x + kGap, panel.y + kTitleSize},
                  Shortened(title, panel.width - 2 * kGap, kTitleSize, true),
                  kTitleSize,
                  kInk};
  shape.bold = true;
  drawing->shapes.push_back(std::move(shape));
  const double used = kTitleSize + 1.5 * kGap;
  return {panel.x, panel.y + used, panel.width, panel.height - used};
}

double WidestLabel(const std::vector<Tick>& ticks) {
  double widest = kLeastLabelWidth;
  for (const Tick& tick : ticks) widest = std::max(widest, TextWidth(tick.label, kTickSize));
  return widest;
}

std::vector<Tick> HorizontalTicks(const Axis& axis, const ValueRange& range, double width) {
  constexpr double kSpace = 2.5 * kGap;
  std::vector<Tick> ticks;
  for (int count = 11; count >= 2; --count) {
    ticks = axis.log ? LogTicks(range.low, range.high, count)
                     : LinearTicks(range.low, range.high, count, axis.whole);
    bool fits = true;
    for (size_t i = 1; i < ticks.size(); ++i) {
      const double apart =
          (Share(ticks[i].value, range, axis.log) - Share(ticks[i - 1].value, range, axis.log)) * width;
      fits &= apart >=
              kSpace + (TextWidth(ticks[i].label, kTickSize) + TextWidth(ticks[i - 1].label, kTickSize)) / 2;
    }
    if (fits) return ticks;
  }
  ticks.resize(std::min<size_t>(ticks.size(), 1));
  return ticks;
}

std::vector<Tick> VerticalTicks(const Axis& axis, const ValueRange& range, double height) {
  std::vector<Tick> ticks;
  for (int count = std::clamp(static_cast<int>(height / 30), 2, 9); count >= 2; --count) {
    ticks = axis.log ? LogTicks(range.low, range.high, count)
                     : LinearTicks(range.low, range.high, count, axis.whole);
    bool fits = true;
    for (size_t i = 1; i < ticks.size(); ++i)
      fits &=
          (Share(ticks[i].value, range, axis.log) - Share(ticks[i - 1].value, range, axis.log)) * height >=
          1.5 * kTickSize;
    if (fits) return ticks;
  }
  ticks.resize(std::min<size_t>(ticks.size(), 1));
  return ticks;
}

void AddHorizontalAxis(const Axis& axis, const ValueRange& range, Box plot, bool grid, Drawing* drawing) {
  for (const Tick& tick : HorizontalTicks(axis, range, plot.width)) {
    const double x = plot.x + Share(tick.value, range, axis.log) * plot.width;
    if (grid) AddLine({x, plot.y}, {x, plot.bottom()}, kGrid, 1, drawing);
    AddLine({x, plot.bottom()}, {x, plot.bottom() + 4}, kFrameLine, 1, drawing);
    AddText({x, plot.bottom() + kGap + kTickSize - 2}, tick.label, kTickSize, kQuietInk, Anchor::kMiddle,
            drawing);
  }
  if (axis.title.empty()) return;
  AddText({plot.x + plot.width / 2, plot.bottom() + 2 * kGap + kTickSize + kAxisSize - 4},
          Shortened(axis.title, plot.width, kAxisSize), kAxisSize, kInk, Anchor::kMiddle, drawing);
}

Drawing Draw(const Figure& figure) {
  FT_CHECK(!figure.panels.empty());
  constexpr double kMargin = 14, kBetween = 22;
  const size_t columns =
      std::clamp<size_t>(static_cast<size_t>(std::max(figure.columns, 1)), 1, figure.panels.size());
  const size_t rows = (figure.panels.size() + columns - 1) / columns;
  const double top = kMargin + (figure.title.empty() ? 0 : kFigureTitleSize + 2 * kGap);
  const auto span = [](size_t count, double one) {
    return static_cast<double>(count) * one + static_cast<double>(count - 1) * kBetween;
  };
  Drawing drawing;
  drawing.width = span(columns, figure.panel_width) + 2 * kMargin;
  drawing.height = top + span(rows, figure.panel_height) + kMargin;
  if (!figure.title.empty()) {
    const double room = drawing.width - 2 * (kMargin + kGap);
    TextShape title{{kMargin + kGap, kMargin + kFigureTitleSize},
                    Shortened(figure.title, room, kFigureTitleSize, true),
                    kFigureTitleSize,
                    kInk};
    title.bold = true;
    drawing.shapes.push_back(std::move(title));
  }
  for (size_t i = 0; i < figure.panels.size(); ++i) {
    const Box panel = {kMargin + static_cast<double>(i % columns) * (figure.panel_width + kBetween),
                       top + static_cast<double>(i / columns) * (figure.panel_height + kBetween),
                       figure.panel_width, figure.panel_height};
    if (const auto* chart = std::get_if<LineChart>(&figure.panels[i])) DrawLineChart(*chart, panel, &drawing);
    if (const auto* map = std::get_if<HeatMap>(&figure.panels[i])) DrawHeatMap(*map, panel, &drawing);
  }
  return drawing;
}

base::Status WritePictures(const Figure& figure, const std::string& path) {
  const Drawing drawing = Draw(figure);
  FT_ASSIGN_OR_RETURN(const std::string png, Png(drawing));
  FT_RETURN_IF_ERROR(ReplaceFile(path + ".png", png));
  return ReplaceFile(path + ".svg", Svg(drawing));
}

}  // namespace fusiontree::report
