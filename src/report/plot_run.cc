#include "report/plot_run.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>

#include "base/bytes.h"
#include "base/grouped.h"

namespace fusiontree::report {
namespace {

using base::BadInput;
using base::Status;

constexpr double kSmoothing = 0.01;
constexpr size_t kLeastSmoothed = 100, kMostSmoothed = 2000;  // points
constexpr double kGap = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMostColumns = 4000;                          // of a heat map, before it is drawn
constexpr double kWidePanel = 900, kHighPanel = 320;           // of pictures of one column, in CSS pixels
constexpr double kOverviewPanel = 620, kOverviewHeight = 290;  // of the overview's two columns

struct NamedNumber {
  std::string_view key;
  const char* label;
};

class FigureMaker {
 public:
  explicit FigureMaker(const RunHistory& history) : history_(history) {}

  // The chart of those of `numbers` that the run has, smoothed or as they are; no panel when it has none.
  void AddChart(const char* title, const char* y_title, const std::vector<NamedNumber>& numbers, bool smooth,
                std::vector<Panel>* panels, Axis y = {}, double scale = 1) const {
    LineChart chart;
    chart.title = title;
    chart.x = StepAxis();
    chart.y = std::move(y);
    chart.y.title = y_title;
    for (const NamedNumber& number : numbers) {
      const auto found = history_.numbers.find(number.key);
      if (found == history_.numbers.end()) continue;
      Series series = smooth ? Smoothed(found->second, kSmoothing) : found->second;
      series.name = number.label;
      for (std::vector<double>* values : {&series.y, &series.band_low, &series.band_high})
        for (double& value : *values) value *= scale;
      chart.series.push_back(std::move(series));
    }
    if (!chart.series.empty()) panels->push_back(std::move(chart));
  }

  void AddLoss(std::vector<Panel>* panels) const {
    AddChart("Training loss", "nats per token", {{kLoss, "total"}, {kLm, "next token (lm)"}}, true, panels);
    // The two often coincide.
    if (!panels->empty()) {
      std::vector<Series>& series = std::get<LineChart>(panels->back()).series;
      if (series.size() == 2) {
        series[1].dashed = true;
        series[1].band_low.clear();
        series[1].band_high.clear();
      }
    }
  }
  void AddOtherTerms(std::vector<Panel>* panels) const {
    AddChart(
        "Other terms of the loss, before their coefficients", "nats",
        {{kBalance, "balance"}, {kEntropy, "entropy"}, {kPolarise, "polarise"}, {kDistill, "distillation"}},
        true, panels);
  }
  void AddHeldOut(std::vector<Panel>* panels) const {
    AddChart("Held-out text", "bits per byte", {{kHeldOutBitsPerByte, "held-out"}}, false, panels);
    AddChart("Associative recall", "accuracy", {{kRecallAccuracy, "held-out rows"}}, false, panels,
             FromZero());
  }
  void AddLearningRate(std::vector<Panel>* panels) const {
    AddChart("Learning rate", "learning rate", {{kLearningRate, "learning rate"}}, false, panels, FromZero());
  }
  void AddMachine(std::vector<Panel>* panels) const {
    AddChart("Gradient norm, before clipping", "norm", {{kGradientNorm, "gradient norm"}}, true, panels,
             Log());
    AddChart("Speed", "tokens per second", {{kTokensPerSecond, "tokens/s"}}, true, panels, FromZero());
    AddChart("Model FLOPs utilisation", "% of the measured peak", {{kMfu, "MFU"}}, true, panels, FromZero(),
             100);
    AddChart("Memory", "GB", {{kMemoryBytes, "memory"}}, false, panels, FromZero(), 1e-9);
  }
  void AddGates(std::vector<Panel>* panels) const {
    if (!history_.gates.empty()) panels->push_back(MeanGates());
  }
  void AddLastHistogram(std::vector<Panel>* panels) const {
    if (!history_.gates.empty()) panels->push_back(LastHistogram());
  }

 private:
  static Axis FromZero() { return {.low = 0.0}; }
  static Axis Log() { return {.log = true}; }
  // The same for every chart, so that they can be read one above the other.
  Axis StepAxis() const {
    const double last = static_cast<double>(history_.last_step);
    double first = static_cast<double>(history_.first_step);
    if (first < last && first <= 0.05 * last) first = 0;
    if (first == last) return {.title = "step", .whole = true};
    return {.title = "step", .low = first, .high = last, .whole = true};
  }

  std::vector<int> Layers() const {
    std::set<int> layers;
    for (const auto& [step, of_step] : history_.gates)
      for (const auto& [layer, gates] : of_step) layers.insert(layer);
    return {layers.begin(), layers.end()};
  }

  HeatMap MeanGates() const {
    HeatMap map;
    map.title = "Mean gate of each layer";
    map.x = {.title = "step", .whole = true};
    map.row_title = "layer";
    map.bar_title = "0 attention · 1 Mamba";
    map.colours = ColourMap::kDiverging;
    const std::vector<int> layers = Layers();
    // Of more steps than any picture shows, every second, third, ...: layers x steps stays small.
    std::vector<const std::map<int, GatesRecord>*> shown;
    const size_t every = (history_.gates.size() + kMostColumns - 1) / kMostColumns;
    size_t number = 0;
    for (const auto& [step, of_step] : history_.gates) {
      if (number++ % every != 0) continue;
      map.columns.push_back(static_cast<double>(step));
      shown.push_back(&of_step);
    }
    map.values_RC.reserve(layers.size() * map.columns.size());
    double furthest = 0;
    for (const int layer : layers) {
      map.rows.push_back(std::to_string(layer));
      for (const auto* of_step : shown) {
        const auto found = of_step->find(layer);
        const double mean = found == of_step->end() ? kGap : found->second.mean;
        if (std::isfinite(mean)) furthest = std::max(furthest, std::abs(mean - 0.5));
        map.values_RC.push_back(mean);
      }
    }
    // Round ends, the same on both sides of a half; most runs stay far from 0 and 1.
    const double half = std::clamp(std::ceil(furthest * 10 - 1e-9) / 10, 0.1, 0.5);
    map.low = 0.5 - half;
    map.high = 0.5 + half;
    return map;
  }

  HeatMap LastHistogram() const {
    const auto& [step, of_step] = *history_.gates.rbegin();
    HeatMap map;
    map.title =
        fmt::format("Distribution of the gate over tokens and channels at step {}", base::Grouped(step));
    map.x.title = "gate (0 attention, 1 Mamba)";
    map.row_title = "layer";
    map.bar_title = "% of the layer's gates";
    for (int bin = 0; bin < kGateBins; ++bin) map.columns.push_back((bin + 0.5) / kGateBins);
    double largest = 0;
    for (const auto& [layer, gates] : of_step) {
      map.rows.push_back(std::to_string(layer));
      double count = 0;
      for (const double c : gates.histogram) count += c;
      for (const double c : gates.histogram) {
        map.values_RC.push_back(count > 0 ? 100 * c / count : kGap);
        if (count > 0) largest = std::max(largest, 100 * c / count);
      }
    }
    map.high = std::clamp(std::ceil(largest / 10) * 10, 10.0, 100.0);
    return map;
  }

  const RunHistory& history_;
};

std::string NameOfFolder(const std::string& folder) {
  const std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
  const std::string name = path.filename().empty() ? path.parent_path().filename() : path.filename();
  return name.empty() || name == "." ? "Training run" : name;
}

}  // namespace

Status RunHistory::Add(Record record) {
  if (record.kind == kGates) {
    FT_ASSIGN_OR_RETURN(GatesRecord of_layer, ToGates(record));
    // A folder that was resumed by hand may hold a step twice: the later one is what the run went on from.
    gates[record.step][of_layer.layer] = std::move(of_layer);
  } else if (record.kind.empty()) {
    for (const auto& [name, value] : record.numbers) {
      Series& series = numbers[name];
      series.x.push_back(static_cast<double>(record.step));
      series.y.push_back(value);
    }
  }
  first_step = empty ? record.step : std::min(first_step, record.step);
  last_step = empty ? record.step : std::max(last_step, record.step);
  empty = false;
  return base::OkStatus();
}

Series Smoothed(const Series& series, double share) {
  const size_t n = series.y.size();
  if (n < kLeastSmoothed) return series;
  const size_t reach = std::max<size_t>(1, static_cast<size_t>(static_cast<double>(n) * share / 2));
  const size_t stride = std::max<size_t>(1, n / kMostSmoothed);  // less than the reach: no point is left out
  Series out = {.name = series.name};
  std::vector<double> near;
  for (size_t i = 0; i < n; i = i + 1 == n ? n : std::min(i + stride, n - 1)) {
    // At the beginning as far ahead as back, so that a steep fall is not cut off.
    const size_t begin = i - std::min(i, reach);
    const size_t end = std::min(n, i + std::min(i, reach) + 1);
    near.clear();
    for (size_t j = begin; j < end; ++j)
      if (std::isfinite(series.y[j])) near.push_back(series.y[j]);
    const bool gap = !std::isfinite(series.y[i]);
    out.x.push_back(series.x[i]);
    std::sort(near.begin(), near.end());
    const size_t quarter = near.size() / 4;
    double sum = 0;
    for (size_t j = quarter; j < near.size() - quarter; ++j) sum += near[j];
    out.y.push_back(gap ? kGap : sum / static_cast<double>(near.size() - 2 * quarter));
    out.band_low.push_back(gap ? kGap : near.front());
    out.band_high.push_back(gap ? kGap : near.back());
  }
  return out;
}

std::vector<std::pair<std::string, Figure>> RunFigures(const RunHistory& history, const std::string& title) {
  const FigureMaker maker(history);
  std::vector<std::pair<std::string, Figure>> figures;
  const auto finish = [&](const char* name, std::vector<Panel> panels, int columns) {
    if (panels.empty()) return;
    Figure figure{title, std::move(panels), columns, kWidePanel, kHighPanel};
    if (columns > 1 && figure.panels.size() > 1) {
      figure.panel_width = kOverviewPanel;
      figure.panel_height = kOverviewHeight;
    }
    figures.emplace_back(name, std::move(figure));
  };
  std::vector<Panel> loss, rate, gates, overview;
  maker.AddLoss(&loss);
  maker.AddOtherTerms(&loss);
  maker.AddHeldOut(&loss);
  maker.AddLearningRate(&rate);
  maker.AddGates(&gates);
  maker.AddLastHistogram(&gates);
  maker.AddLoss(&overview);
  maker.AddHeldOut(&overview);
  maker.AddOtherTerms(&overview);
  maker.AddGates(&overview);
  maker.AddLearningRate(&overview);
  maker.AddMachine(&overview);
  maker.AddLastHistogram(&overview);
  finish("loss", std::move(loss), 1);
  finish("learning_rate", std::move(rate), 1);
  finish("gates", std::move(gates), 1);
  finish("overview", std::move(overview), 2);
  return figures;
}

base::Result<std::vector<std::string>> PlotRun(const std::string& run_folder) {
  const std::string log = run_folder + "/" + std::string(kMetricsFile);
  RunHistory history;
  FT_RETURN_IF_ERROR(ReadRunLog(log, [&](Record record) { return history.Add(std::move(record)); }));
  if (history.empty)
    return BadInput("{} holds no finished line, so there is nothing to draw", base::Quote(log));
  const auto figures = RunFigures(history, NameOfFolder(run_folder));
  if (figures.empty()) return BadInput("{} holds none of the numbers that are drawn", base::Quote(log));
  const std::string plots = run_folder + "/plots";
  if (mkdir(plots.c_str(), 0777) != 0 && errno != EEXIST)
    return base::BadInput("{} cannot be made: {}", base::Quote(plots), std::strerror(errno));
  std::vector<std::string> written;
  for (const auto& [name, figure] : figures) {
    const std::string path = plots + "/" + name;
    FT_RETURN_IF_ERROR(WritePictures(figure, path));
    written.push_back(path + ".png");
    written.push_back(path + ".svg");
  }
  return written;
}

}  // namespace fusiontree::report
