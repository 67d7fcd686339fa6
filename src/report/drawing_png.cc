// The only file that knows Cairo: it has anti-aliased lines and text, and writes PNG.
#include <cairo.h>

#include <cmath>
#include <memory>
#include <numbers>

#include "base/utf8.h"
#include "report/drawing.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
// Fontconfig keeps what it knows of a font, Cairo too, behind pointers that are stored as offsets: the leak
// checker of the instrumented build does not see that they are still in use.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions() {
  return "leak:libfontconfig.so\n";
}
#endif
#endif

namespace fusiontree::report {
namespace {

constexpr double kDevicePixels = 2;   // of a CSS pixel: sharp on today's screens
constexpr double kMaxLength = 16000;  // CSS pixels; Cairo's images end at 32,767 device pixels

struct Release {
  void operator()(cairo_t* cairo) const { cairo_destroy(cairo); }
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_font_options_t* options) const { cairo_font_options_destroy(options); }
};

cairo_status_t AppendBytes(void* out, const unsigned char* data, unsigned int size) {
  static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(data), size);
  return CAIRO_STATUS_SUCCESS;
}

struct Painter {
  cairo_t* cairo;

  void SetColour(const Colour& c) const {
    cairo_set_source_rgba(cairo, c.red / 255.0, c.green / 255.0, c.blue / 255.0, c.alpha);
  }
  void Trace(const std::vector<Point>& points) const {
    cairo_new_path(cairo);
    for (const Point& p : points) cairo_line_to(cairo, p.x, p.y);
  }

  void operator()(const PolylineShape& s) const {
    static constexpr double kDashes[] = {5, 3};
    SetColour(s.colour);
    cairo_set_line_width(cairo, s.width);
    cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_set_dash(cairo, kDashes, s.dashed ? 2 : 0, 0);
    Trace(s.points);
    cairo_stroke(cairo);
  }
  void operator()(const PolygonShape& s) const {
    SetColour(s.fill);
    Trace(s.points);
    cairo_fill(cairo);
  }
  void operator()(const BoxShape& s) const {
    SetColour(s.fill);
    cairo_rectangle(cairo, s.box.x, s.box.y, s.box.width, s.box.height);
    cairo_fill(cairo);
  }
  void operator()(const DotShape& s) const {
    SetColour(s.fill);
    cairo_new_path(cairo);
    cairo_arc(cairo, s.centre.x, s.centre.y, s.radius, 0, 2 * std::numbers::pi);
    cairo_fill(cairo);
  }
  void operator()(const TextShape& s) const {
    SetColour(s.colour);
    cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           s.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, s.size);
    std::string text = base::ReplaceInvalidUtf8(s.text);
    if (const size_t nul = text.find('\0'); nul != std::string::npos) text.resize(nul);
    cairo_text_extents_t extents;
    cairo_text_extents(cairo, text.c_str(), &extents);
    const double share = s.anchor == Anchor::kStart ? 0 : s.anchor == Anchor::kMiddle ? 0.5 : 1;
    cairo_save(cairo);
    cairo_translate(cairo, s.at.x, s.at.y);
    if (s.upward) cairo_rotate(cairo, -std::numbers::pi / 2);
    cairo_move_to(cairo, -share * extents.x_advance, 0);
    cairo_show_text(cairo, text.c_str());
    cairo_restore(cairo);
  }
};

}  // namespace

base::Result<std::string> Png(const Drawing& drawing) {
  if (!(drawing.width > 0 && drawing.width <= kMaxLength && drawing.height > 0 &&
        drawing.height <= kMaxLength))
    return base::Failed("a picture of {} x {} pixels cannot be drawn: at most {} x {}", drawing.width,
                        drawing.height, kMaxLength, kMaxLength);
  const std::unique_ptr<cairo_surface_t, Release> surface(cairo_image_surface_create(
      CAIRO_FORMAT_RGB24, static_cast<int>(std::ceil(drawing.width * kDevicePixels)),
      static_cast<int>(std::ceil(drawing.height * kDevicePixels))));
  const std::unique_ptr<cairo_t, Release> cairo(cairo_create(surface.get()));
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  cairo_scale(cairo.get(), kDevicePixels, kDevicePixels);
  // Without hints a letter has the width of the table that the layout used.
  const std::unique_ptr<cairo_font_options_t, Release> options(cairo_font_options_create());
  cairo_font_options_set_antialias(options.get(), CAIRO_ANTIALIAS_GRAY);
  cairo_font_options_set_hint_style(options.get(), CAIRO_HINT_STYLE_NONE);
  cairo_font_options_set_hint_metrics(options.get(), CAIRO_HINT_METRICS_OFF);
  cairo_set_font_options(cairo.get(), options.get());
  for (const Shape& shape : drawing.shapes) std::visit(Painter{cairo.get()}, shape);

  std::string bytes;
  cairo_status_t status = cairo_status(cairo.get());
  if (status == CAIRO_STATUS_SUCCESS)
    status = cairo_surface_write_to_png_stream(surface.get(), AppendBytes, &bytes);
  if (status != CAIRO_STATUS_SUCCESS)
    return base::Failed("a picture could not be drawn: {}", cairo_status_to_string(status));
  return bytes;
}

}  // namespace fusiontree::report
