#include "report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace fusiontree::report {
namespace {

// Ranges shorter than this share of their values are one value: ticks would all read the same.
constexpr double kShortest = 1e-9;
constexpr double kSmallestDrawn = 1e-290;  // no step between ticks becomes 0

double PowerOfTen(int exponent) { return std::pow(10.0, exponent); }

// `step` is mantissa x 10^exponent.
std::string TickLabel(double value, double largest, int exponent) {
  if (std::abs(value) < PowerOfTen(exponent) / 2) return "0";
  if (largest >= 1e15 || exponent < -5) {
    // One mantissa digit more for each power of ten between the value and the step.
    const int own = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
    std::string text = fmt::format("{:.{}e}", value, std::clamp(own - exponent, 0, 12));
    // "2.0e-05" as people write it: "2e-5"
    const size_t e = text.find('e');
    const int power = std::stoi(text.substr(e + 1));
    return text.substr(0, e) + "e" + std::to_string(power);
  }
  static constexpr struct {
    double size;
    int exponent;
    const char* suffix;
  } kUnits[] = {{1e12, 12, "T"}, {1e9, 9, "G"}, {1e6, 6, "M"}, {1e3, 3, "k"}};
  for (const auto& unit : kUnits) {
    // 2,000 stays 2000; from five digits on the unit reads better.
    if (largest < (unit.exponent == 3 ? 10 : 1) * unit.size || exponent < unit.exponent - 2) continue;
    return fmt::format("{:.{}f}{}", value / unit.size, std::max(0, unit.exponent - exponent), unit.suffix);
  }
  return fmt::format("{:.{}f}", value, std::max(0, -exponent));
}

}  // namespace

bool Drawable(double value, bool log) {
  return std::abs(value) < kLargestDrawn && (!log || value > kSmallestDrawn);
}

void ValueRange::Add(double value, bool log) {
  if (!Drawable(value, log)) return;
  low = empty ? value : std::min(low, value);
  high = empty ? value : std::max(high, value);
  empty = false;
}

ValueRange Widened(ValueRange range, bool log, double margin) {
  if (range.empty) return {log ? 0.1 : 0, 1, false};
  const double size = std::max(std::abs(range.low), std::abs(range.high));
  if (range.high - range.low <= std::max(size * kShortest, kSmallestDrawn)) {
    if (log) return {range.low / 2, range.high * 2, false};
    const double room = size < kSmallestDrawn / kShortest ? 1 : size / 10;
    return {range.low - room, range.high + room, false};
  }
  if (log) {
    const double factor = std::exp((std::log(range.high) - std::log(range.low)) * margin);
    return {std::max(range.low / factor, kSmallestDrawn / 10),
            std::min(range.high * factor, kLargestDrawn * 10), false};
  }
  const double room = (range.high - range.low) * margin;
  return {range.low - room, range.high + room, false};
}

std::vector<Tick> LinearTicks(double low, double high, int count, bool whole) {
  const double largest = std::max(std::abs(low), std::abs(high));
  const int smallest = static_cast<int>(std::floor(std::log10((high - low) / count)));
  for (int exponent = whole ? std::max(smallest, 0) : smallest;; ++exponent)
    for (const int mantissa : {1, 2, 5}) {
      const double step = mantissa * PowerOfTen(exponent);
      const double first = std::ceil(low / step - 1e-9);
      const double last = std::floor(high / step + 1e-9);
      if (last - first + 1 > count) continue;
      std::vector<Tick> ticks;
      for (int i = 0; i <= static_cast<int>(last - first); ++i) {
        const double value = (first + i) * step;
        ticks.push_back({value, TickLabel(value, largest, exponent)});
      }
      return ticks;
    }
}

std::vector<Tick> LogTicks(double low, double high, int count) {
  const int first = static_cast<int>(std::ceil(std::log10(low) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(high) + 1e-9));
  const auto label = [](double value, int exponent) {
    return exponent >= -3 ? TickLabel(value, value, exponent)
                          : fmt::format("{:.0f}e{}", value / PowerOfTen(exponent), exponent);
  };
  std::vector<Tick> ticks;
  for (const bool between : {true, false}) {
    ticks.clear();
    for (int exponent = first - 1; exponent <= last; ++exponent)
      for (const int m : {1, 2, 5}) {
        const double value = m * PowerOfTen(exponent);
        if ((m > 1 && !between) || value < low * (1 - 1e-9) || value > high * (1 + 1e-9)) continue;
        ticks.push_back({value, label(value, exponent)});
      }
    if (static_cast<int>(ticks.size()) <= count) break;
  }
  if (ticks.size() < 3) {
    std::vector<Tick> linear = LinearTicks(low, high, count, false);
    std::erase_if(linear, [](const Tick& tick) { return tick.value <= 0; });
    return linear.size() > ticks.size() ? linear : ticks;
  }
  // Every second power, or third, ...
  const size_t every = (ticks.size() + static_cast<size_t>(count) - 1) / static_cast<size_t>(count);
  std::vector<Tick> kept;
  for (size_t i = 0; i < ticks.size(); i += every) kept.push_back(ticks[i]);
  return kept;
}

double Share(double value, const ValueRange& range, bool log) {
  const double share =
      log ? (std::log(value) - std::log(range.low)) / (std::log(range.high) - std::log(range.low))
          : (value - range.low) / (range.high - range.low);
  return std::clamp(share, 0.0, 1.0);
}

}  // namespace fusiontree::report
