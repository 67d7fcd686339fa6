// A picture as a list of shapes: what a chart draws once, and what SVG and PNG are both made of.
#ifndef FUSIONTREE_REPORT_DRAWING_H_
#define FUSIONTREE_REPORT_DRAWING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"

namespace fusiontree::report {

struct Colour {
  uint8_t red = 0, green = 0, blue = 0;
  double alpha = 1;
  bool operator==(const Colour&) const = default;
};

// Lengths are CSS pixels from the top left; a PNG has two device pixels for each.
struct Point {
  double x = 0, y = 0;
};
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
};

enum class Anchor { kStart, kMiddle, kEnd };

struct PolylineShape {
  std::vector<Point> points;  // two or more
  Colour colour;
  double width = 1;
  bool dashed = false;
};
struct PolygonShape {
  std::vector<Point> points;
  Colour fill;
};
struct BoxShape {
  Box box;  // on half pixels, so that neighbours meet without a seam
  Colour fill;
};
struct DotShape {
  Point centre;
  double radius = 2;
  Colour fill;
};
struct TextShape {
  Point at;  // on the baseline
  std::string text;
  double size = 12;
  Colour colour;
  Anchor anchor = Anchor::kStart;
  bool bold = false;
  bool upward = false;  // reads from bottom to top
};
using Shape = std::variant<PolylineShape, PolygonShape, BoxShape, DotShape, TextShape>;

struct Drawing {
  double width = 0, height = 0;
  std::vector<Shape> shapes;  // first is lowest
};

// Width of a line of text in DejaVu Sans, by a table: layouts do not depend on the fonts of a machine.
double TextWidth(std::string_view text, double size, bool bold = false);

// `text`, or as much of its start as fits into `width` with "…" behind it.
std::string Shortened(const std::string& text, double width, double size, bool bold = false);

// What `shape` takes up: texts are as wide as TextWidth says and as high as their size.
Box BoundsOf(const TextShape& shape);

// The same bytes for the same drawing. Text stays text, so that it can be searched and copied.
std::string Svg(const Drawing& drawing);

// The bytes of a PNG file. An error when the picture is larger than Cairo can hold.
base::Result<std::string> Png(const Drawing& drawing);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_DRAWING_H_
