#include "report/drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/utf8.h"

namespace fusiontree::report {
namespace {

// Advances of DejaVu Sans for U+0020 to U+007E, in thousandths of the size.
constexpr int kAdvances[] = {318,  401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
                             636,  636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531,
                             1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787,
                             603,  787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500,
                             500,  613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
                             635,  635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838};
static_assert(std::size(kAdvances) == 0x7F - 0x20);
constexpr int kWideAdvance = 1000;  // anything else: as wide as a "…", the widest of common characters
constexpr double kBoldFactor = 1.13;

// Two digits behind the point, without trailing zeros.
std::string Length(double value) {
  std::string text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : base::ReplaceInvalidUtf8(text)) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += base::kReplacementCharacter;  // XML has no place for them
    } else {
      out += c;
    }
  }
  return out;
}

std::string Paint(const char* attribute, const Colour& colour) {
  std::string text =
      fmt::format(" {}=\"#{:02x}{:02x}{:02x}\"", attribute, colour.red, colour.green, colour.blue);
  if (colour.alpha < 1) text += fmt::format(" {}-opacity=\"{}\"", attribute, Length(colour.alpha));
  return text;
}

std::string Path(const std::vector<Point>& points) {
  std::string text;
  for (const Point& p : points) {
    text += text.empty() ? "M" : "L";
    text += Length(p.x) + "," + Length(p.y);
  }
  return text;
}

struct SvgElement {
  std::string operator()(const PolylineShape& s) const {
    return fmt::format("<path d=\"{}\" fill=\"none\"{} stroke-width=\"{}\" stroke-linejoin=\"round\"{}/>\n",
                       Path(s.points), Paint("stroke", s.colour), Length(s.width),
                       s.dashed ? " stroke-dasharray=\"5,3\"" : "");
  }
  std::string operator()(const PolygonShape& s) const {
    return fmt::format("<path d=\"{}Z\"{}/>\n", Path(s.points), Paint("fill", s.fill));
  }
  std::string operator()(const BoxShape& s) const {
    return fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{} shape-rendering=\"crispEdges\"/>\n",
        Length(s.box.x), Length(s.box.y), Length(s.box.width), Length(s.box.height), Paint("fill", s.fill));
  }
  std::string operator()(const DotShape& s) const {
    return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\"{}/>\n", Length(s.centre.x), Length(s.centre.y),
                       Length(s.radius), Paint("fill", s.fill));
  }
  std::string operator()(const TextShape& s) const {
    static constexpr const char* kAnchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    const std::string place =
        s.upward ? fmt::format("transform=\"translate({} {}) rotate(-90)\"", Length(s.at.x), Length(s.at.y))
                 : fmt::format("x=\"{}\" y=\"{}\"", Length(s.at.x), Length(s.at.y));
    return fmt::format("<text {} font-size=\"{}\"{}{}{}>{}</text>\n", place, Length(s.size),
                       kAnchors[static_cast<int>(s.anchor)], s.bold ? " font-weight=\"bold\"" : "",
                       Paint("fill", s.colour), Escaped(s.text));
  }
};

}  // namespace

double TextWidth(std::string_view text, double size, bool bold) {
  int64_t advance = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      advance += kAdvances[byte - 0x20];
    } else if ((byte & 0xC0) != 0x80) {
      advance += kWideAdvance;
    }
  }
  return static_cast<double>(advance) / 1000 * size * (bold ? kBoldFactor : 1);
}

std::string Shortened(const std::string& text, double width, double size, bool bold) {
  if (TextWidth(text, size, bold) <= width) return text;
  std::string out = base::ReplaceInvalidUtf8(text);
  while (!out.empty() && TextWidth(out + "…", size, bold) > width) {
    while (out.size() > 1 && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
    out.pop_back();
  }
  return out.empty() ? "" : out + "…";
}

Box BoundsOf(const TextShape& shape) {
  const double width = TextWidth(shape.text, shape.size, shape.bold);
  const double before = shape.anchor == Anchor::kStart    ? 0
                        : shape.anchor == Anchor::kMiddle ? width / 2
                                                          : width;
  const double ascent = 0.78 * shape.size;  // of digits and capitals, and a little
  if (!shape.upward) return {shape.at.x - before, shape.at.y - ascent, width, shape.size};
  return {shape.at.x - ascent, shape.at.y - width + before, shape.size, width};
}

std::string Svg(const Drawing& drawing) {
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"'DejaVu Sans', Verdana, Arial, sans-serif\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      Length(drawing.width), Length(drawing.height));
  for (const Shape& shape : drawing.shapes) out += std::visit(SvgElement(), shape);
  return out + "</svg>\n";
}

}  // namespace fusiontree::report
