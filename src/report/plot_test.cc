#include "report/plot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "report/drawing.h"

namespace fusiontree::report {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename Kind>
std::vector<Kind> All(const Drawing& drawing) {
  std::vector<Kind> found;
  for (const Shape& shape : drawing.shapes)
    if (const Kind* kind = std::get_if<Kind>(&shape)) found.push_back(*kind);
  return found;
}

bool HasText(const Drawing& drawing, const std::string& text) {
  const auto texts = All<TextShape>(drawing);
  return std::any_of(texts.begin(), texts.end(), [&](const TextShape& t) { return t.text == text; });
}

// The lines of data, which are thicker than axes and grid; legend marks are thicker still.
std::vector<PolylineShape> DataLines(const Drawing& drawing) {
  std::vector<PolylineShape> lines = All<PolylineShape>(drawing);
  std::erase_if(lines, [](const PolylineShape& line) { return line.width <= 1 || line.width >= 2.5; });
  return lines;
}

void ExpectFinite(const Drawing& drawing) {
  const auto inside = [&](Point p) {
    return p.x >= -1 && p.x <= drawing.width + 1 && p.y >= -1 && p.y <= drawing.height + 1;
  };
  for (const auto& line : All<PolylineShape>(drawing)) {
    EXPECT_GE(line.points.size(), 2u);
    for (const Point& p : line.points) EXPECT_TRUE(inside(p)) << p.x << " " << p.y;
  }
  for (const auto& area : All<PolygonShape>(drawing))
    for (const Point& p : area.points) EXPECT_TRUE(inside(p)) << p.x << " " << p.y;
  for (const auto& box : All<BoxShape>(drawing)) {
    EXPECT_TRUE(inside({box.box.x, box.box.y}) && inside({box.box.right(), box.box.bottom()}));
    EXPECT_GT(box.box.width, 0);
  }
  for (const auto& dot : All<DotShape>(drawing)) EXPECT_TRUE(inside(dot.centre));
}

// What makes a picture legible: no text on another, none over the edge.
void ExpectLegible(const Drawing& drawing) {
  ExpectFinite(drawing);
  const std::vector<TextShape> texts = All<TextShape>(drawing);
  for (size_t i = 0; i < texts.size(); ++i) {
    const Box a = BoundsOf(texts[i]);
    EXPECT_GE(texts[i].size, 12) << texts[i].text;
    EXPECT_TRUE(a.x >= 0 && a.y >= 0 && a.right() <= drawing.width && a.bottom() <= drawing.height)
        << '"' << texts[i].text << "\" leaves the picture: " << a.x << " " << a.y << " " << a.right() << " "
        << a.bottom() << " of " << drawing.width << " x " << drawing.height;
    for (size_t j = 0; j < i; ++j) {
      const Box b = BoundsOf(texts[j]);
      const bool apart = a.right() <= b.x || b.right() <= a.x || a.bottom() <= b.y || b.bottom() <= a.y;
      EXPECT_TRUE(apart) << '"' << texts[i].text << "\" lies on \"" << texts[j].text << '"';
    }
  }
}

Series MakeSeries(std::string name, std::vector<double> y) {
  Series series = {.name = std::move(name)};
  series.x.resize(y.size());
  std::iota(series.x.begin(), series.x.end(), 0);
  series.y = std::move(y);
  return series;
}

LineChart ChartOf(std::vector<double> y) {
  return {.title = "Title",
          .x = {.title = "step"},
          .y = {.title = "value"},
          .series = {MakeSeries("a", std::move(y))}};
}

HeatMap MapOf(size_t rows, size_t columns) {
  HeatMap map = {
      .title = "Map", .x = {.title = "step", .whole = true}, .row_title = "layer", .bar_title = "share"};
  for (size_t c = 0; c < columns; ++c) map.columns.push_back(static_cast<double>(c * 10));
  for (size_t r = 0; r < rows; ++r) {
    map.rows.push_back(std::to_string(r));
    for (size_t c = 0; c < columns; ++c) map.values_RC.push_back(static_cast<double>((r * 7 + c) % 11) / 10);
  }
  return map;
}

TEST(Plot, NoTextLiesOnAnother) {
  for (const double width : {300.0, 420.0, 860.0})
    for (const double height : {190.0, 330.0, 700.0})
      for (const double scale : {1e-9, 3e-4, 1.0, 12345.0, 1e9, 7e20})
        for (const bool log : {false, true}) {
          Figure figure{
              "A rather long title of the whole figure, about a run of some kind", {}, 2, width, height};
          LineChart chart = ChartOf({1 * scale, 2.5 * scale, 40 * scale, 3 * scale});
          chart.y.log = log;
          chart.title = "A title that is too long for a narrow panel and has to be cut somewhere";
          chart.y.title = "a title of an axis that is longer than a low panel is high";
          for (int i = 0; i < 30; ++i)
            chart.series.push_back(MakeSeries("series number " + std::to_string(i), {scale}));
          figure.panels.push_back(chart);
          chart.series.resize(3);
          for (double& x : chart.series[0].x) x *= scale;
          figure.panels.push_back(chart);
          figure.panels.push_back(MapOf(48, 300));
          HeatMap wide = MapOf(5, 1);
          wide.low = -scale;
          wide.high = scale;
          wide.rows[2] = "a row with a name that is much too long for a label";
          figure.panels.push_back(wide);
          ExpectLegible(Draw(figure));
          if (HasFailure())
            FAIL() << width << " x " << height << ", values of " << scale << (log ? ", log" : "");
        }
}

TEST(LineChart, DrawsWhatIsThere) {
  const Drawing drawing = Draw({"Figure", {ChartOf({1, 3, 2})}});
  const auto lines = DataLines(drawing);
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_EQ(lines[0].points.size(), 3u);
  EXPECT_LT(lines[0].points[1].y, lines[0].points[2].y);  // upward
  EXPECT_LT(lines[0].points[2].y, lines[0].points[0].y);
  EXPECT_NEAR(lines[0].points[1].x * 2, lines[0].points[0].x + lines[0].points[2].x, 1e-9);
  for (const char* text : {"Figure", "Title", "step", "value", "1.0", "3.0"})
    EXPECT_TRUE(HasText(drawing, text)) << text;
  EXPECT_FALSE(HasText(drawing, "a")) << "one series needs no legend";
}

TEST(LineChart, LegendNamesEverySeriesThatHasRoom) {
  LineChart chart = ChartOf({1, 2});
  chart.series.push_back(MakeSeries("second", {2, 1}));
  EXPECT_TRUE(HasText(Draw({"", {chart}}), "second"));
  for (int i = 0; i < 100; ++i)
    chart.series.push_back(MakeSeries("one of many " + std::to_string(i), {1, 2}));
  const Drawing drawing = Draw({"", {chart}});
  const auto texts = All<TextShape>(drawing);
  const auto more =
      std::find_if(texts.begin(), texts.end(), [](const TextShape& t) { return t.text.ends_with(" more"); });
  ASSERT_NE(more, texts.end());
  const auto named = std::count_if(texts.begin(), texts.end(),
                                   [](const TextShape& t) { return t.text.starts_with("one of many"); });
  EXPECT_EQ(more->text, "and " + std::to_string(100 - named) + " more");
}

TEST(LineChart, GapsSplitTheLineAndLonePointsAreDots) {
  std::vector<double> y(200, 1.0);
  y[50] = kNaN;
  y[100] = kInfinity;
  y[102] = kNaN;  // 101 stands alone
  y[105] = kNaN;  // 103 and 104 are two
  const Drawing drawing = Draw({"", {ChartOf(y)}});
  EXPECT_EQ(DataLines(drawing).size(), 4u);
  EXPECT_EQ(All<DotShape>(drawing).size(), 1u);
  ExpectFinite(drawing);
}

TEST(LineChart, OnePointConstantsAndNothing) {
  for (const std::vector<double>& y : std::vector<std::vector<double>>{
           {}, {3}, {0}, {kNaN}, {5, 5, 5}, {0, 0}, {-1e-320, 1e-320}, {1e299, -1e299}})
    for (const bool log : {false, true}) {
      LineChart chart = ChartOf(y);
      chart.y.log = log;
      const Drawing drawing = Draw({"", {chart}});
      ExpectLegible(drawing);
      const bool anything =
          std::any_of(y.begin(), y.end(), [&](double v) { return log ? v > 1e-300 : std::isfinite(v); });
      EXPECT_EQ(HasText(drawing, "no data"), !anything);
      EXPECT_EQ(All<DotShape>(drawing).empty(), !anything);
    }
}

TEST(LineChart, AHundredThousandPointsKeepTheirExtremes) {
  std::vector<double> y(100000, 1.0);
  y[55555] = 7;
  y[77777] = -7;
  const Drawing drawing = Draw({"", {ChartOf(y)}});
  const auto lines = DataLines(drawing);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_LT(lines[0].points.size(), 4000u);
  double least = 1e9, greatest = 0;
  for (const Point& p : lines[0].points) {
    least = std::min(least, p.y);
    greatest = std::max(greatest, p.y);
  }
  // The same heights as the undiluted values have.
  const auto three = DataLines(Draw({"", {ChartOf({1, 7, -7})}}))[0].points;
  EXPECT_NEAR(least, three[1].y, 1e-9);
  EXPECT_NEAR(greatest, three[2].y, 1e-9);
  EXPECT_LT(Svg(drawing).size(), 100000u);
}

TEST(LineChart, BandsSurroundTheirLine) {
  LineChart chart = ChartOf({1, 2, 3});
  chart.series[0].band_low = {0.5, 1.5, kNaN};
  chart.series[0].band_high = {1.5, 2.5, kNaN};
  const Drawing drawing = Draw({"", {chart}});
  const auto bands = All<PolygonShape>(drawing);
  ASSERT_EQ(bands.size(), 1u);
  EXPECT_EQ(bands[0].points.size(), 4u);
  EXPECT_LT(bands[0].fill.alpha, 0.5);
  const auto line = DataLines(drawing)[0].points;
  EXPECT_GT(bands[0].points[0].y, line[0].y);  // low is below
  EXPECT_LT(bands[0].points[3].y, line[0].y);
}

TEST(LineChart, AnAxisAskedForHolds) {
  LineChart chart = ChartOf({5, 6, 20});
  chart.y.low = 0;
  chart.y.high = 10;
  const Drawing drawing = Draw({"", {chart}});
  EXPECT_TRUE(HasText(drawing, "0"));
  EXPECT_TRUE(HasText(drawing, "10"));
  EXPECT_FALSE(HasText(drawing, "20"));
  ExpectLegible(drawing);
  chart.y.low = 100;  // above all data and above `high`
  ExpectLegible(Draw({"", {chart}}));
}

TEST(HeatMap, ACellHasTheColourOfItsValue) {
  HeatMap map = MapOf(2, 3);
  map.values_RC = {0, 0.5, 1, kNaN, 0.5, 0.5};
  map.colours = ColourMap::kDiverging;
  const Drawing drawing = Draw({"", {map}});
  const auto boxes = All<BoxShape>(drawing);
  // Row 0 is the lowest: three cells, then row 1: a gap and two cells of one colour in one box.
  ASSERT_GE(boxes.size(), 5u);
  EXPECT_GT(boxes[0].box.y, boxes[3].box.y);
  EXPECT_LT(boxes[0].box.x, boxes[1].box.x);
  EXPECT_GT(boxes[0].fill.blue, boxes[0].fill.red);  // 0 is blue, 1 orange
  EXPECT_GT(boxes[2].fill.red, boxes[2].fill.blue);
  EXPECT_GT(boxes[1].fill.red, 0xf0);  // the middle is almost white
  EXPECT_EQ(boxes[4].fill, boxes[1].fill);
  EXPECT_NEAR(boxes[4].box.width, boxes[1].box.width + boxes[2].box.width, 1);
  EXPECT_EQ(boxes[3].fill.red, boxes[3].fill.blue);  // grey
  ExpectLegible(drawing);
}

TEST(HeatMap, ColumnsAreAveragedToTheWidthOfThePicture) {
  HeatMap map = MapOf(12, 50000);
  const Drawing drawing = Draw({"", {map}});
  ExpectLegible(drawing);
  EXPECT_LT(All<BoxShape>(drawing).size(), 12u * 500);
  // Alternating 0 and 1 average to the middle.
  for (size_t i = 0; i < map.values_RC.size(); ++i) map.values_RC[i] = static_cast<double>(i % 2);
  map.colours = ColourMap::kDiverging;
  const Drawing averaged = Draw({"", {map}});
  const Colour fill = All<BoxShape>(averaged).front().fill;
  EXPECT_GT(fill.red, 0xe8);
  EXPECT_GT(fill.blue, 0xd8);
}

TEST(Pictures, TheSameDataMakeTheSameBytes) {
  LineChart chart = ChartOf({1, kNaN, 3, 2});
  chart.title = "<a & b> \xff\x01";
  const Figure figure{"Figure", {chart, MapOf(3, 40)}, 2};
  const std::string svg = Svg(Draw(figure));
  EXPECT_EQ(svg, Svg(Draw(figure)));
  EXPECT_NE(svg.find(">&lt;a &amp; b&gt; \xEF\xBF\xBD\xEF\xBF\xBD<"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  const auto png = Png(Draw(figure)), again = Png(Draw(figure));
  ASSERT_TRUE(png.ok() && again.ok());
  EXPECT_EQ(*png, *again);
  EXPECT_EQ(png->substr(1, 3), "PNG");
}

TEST(Pictures, TextIsCutToItsRoom) {
  EXPECT_EQ(Shortened("short", 100, 12), "short");
  const std::string cut = Shortened("größer als der Platz", 60, 12);
  EXPECT_TRUE(cut.ends_with("…"));
  EXPECT_LE(TextWidth(cut, 12), 60);
  EXPECT_GT(TextWidth(cut, 12), 40);
  EXPECT_EQ(Shortened("anything", 1, 12), "");
}

TEST(Pictures, AreWrittenWholeOrNotAtAll) {
  std::string folder = testing::TempDir() + "plot-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const Figure figure{"Figure", {ChartOf({1, 2})}};
  ASSERT_TRUE(WritePictures(figure, folder + "/a").ok());
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_GT(entry.file_size(), 1000u);
    ++files;
  }
  EXPECT_EQ(files, 2);
  const base::Status absent = WritePictures(figure, folder + "/absent/a");
  EXPECT_NE(absent.message().find("absent/a.png\" cannot be written: No such file"), std::string::npos);
  std::filesystem::create_directory(folder + "/b.png");
  EXPECT_FALSE(WritePictures(figure, folder + "/b").ok());
  const base::Result<std::string> large = Png(Draw({"", {ChartOf({1, 2})}, 1, 20000, 300}));
  ASSERT_FALSE(large.ok());
  EXPECT_NE(large.status().message().find("16000"), std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace fusiontree::report
