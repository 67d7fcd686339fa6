#include "train/schedule.h"

#include <algorithm>
#include <numbers>

#include "base/math.h"

namespace fusiontree::train {

double Schedule::At(int64_t tokens) const {
  const double t = static_cast<double>(tokens);
  if (t <= points.front().first) return points.front().second;
  for (size_t i = 1; i < points.size(); ++i) {
    const auto& [x0, y0] = points[i - 1];
    const auto& [x1, y1] = points[i];
    if (t <= x1) return y0 + (y1 - y0) * ((t - x0) / (x1 - x0));
  }
  return points.back().second;
}

double LearningRate::Factor(int64_t tokens) const {
  const double t = static_cast<double>(tokens), all = static_cast<double>(total);
  if (tokens < warmup) return t / static_cast<double>(warmup);
  if (shape == Shape::kConstant) return 1.0;
  const int64_t start = shape == Shape::kCosine ? warmup : std::max(warmup, total - decay);
  if (tokens <= start || total <= start) return 1.0;
  const double gone = std::min(1.0, (t - static_cast<double>(start)) / (all - static_cast<double>(start)));
  if (shape == Shape::kWsd) return 1.0 + (final - 1.0) * gone;
  return final + (1.0 - final) * 0.5 * (1.0 + base::Cos(std::numbers::pi * gone));
}

}  // namespace fusiontree::train
