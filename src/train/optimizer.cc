#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/math.h"

namespace fusiontree::train {
namespace {

bool Contains(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

bool IsDecayed(const models::Parameter& parameter) {
  if (parameter.shape.size() != 2) return false;
  for (const char* part : {"A_log", "embed", "srte."})
    if (Contains(parameter.name, part)) return false;
  return true;
}

}  // namespace

Layout::Layout(const std::vector<models::Parameter>& parameters) {
  for (const models::Parameter& parameter : parameters) {
    names_.push_back(parameter.name);
    shapes_.push_back(parameter.shape);
    decays_.push_back(IsDecayed(parameter));
    offsets_.push_back(offsets_.back() + parameter.elements());
    groups_.emplace_back();
  }
}

base::Status Layout::SetGroups(const std::vector<ParameterGroup>& groups) {
  for (const ParameterGroup& group : groups) {
    bool any = false;
    for (size_t i = 0; i < count(); ++i) {
      if (!Contains(names_[i], group.match)) continue;
      groups_[i] = group;
      any = true;
    }
    if (!any)
      return base::BadInput("\"optimizer.groups\": no tensor of the model has \"{}\" in its name",
                            group.match);
  }
  return base::OkStatus();
}

size_t Layout::ParameterAt(int64_t element) const {
  return static_cast<size_t>(std::upper_bound(offsets_.begin(), offsets_.end(), element) - offsets_.begin()) -
         1;
}

double SumOfSquares(ops::Context& context, const float* gradient, int64_t size) {
  const int64_t blocks = (size + kSquareBlock - 1) / kSquareBlock;
  std::vector<double> sums(static_cast<size_t>(blocks));
  context.For(blocks, 1, 2, [&](int, base::Range share) {
    for (int64_t b = share.begin; b < share.end; ++b) {
      double sum = 0.0;
      for (int64_t i = b * kSquareBlock; i < std::min(size, (b + 1) * kSquareBlock); ++i)
        sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
      sums[static_cast<size_t>(b)] = sum;
    }
  });
  double all = 0.0;
  for (const double sum : sums) all += sum;
  return all;
}

void RunAdam(const AdamStep& step, bool decays, const float* gradient, float* w, float* m, float* v,
             int64_t count) {
  const AdamW& s = step.settings;
  const double t = static_cast<double>(step.step);
  const float b1 = static_cast<float>(s.beta1), b2 = static_cast<float>(s.beta2),
              a1 = static_cast<float>(1.0 - s.beta1), a2 = static_cast<float>(1.0 - s.beta2),
              rate = static_cast<float>(step.rate / (1.0 - base::Pow(s.beta1, t))),
              root = static_cast<float>(1.0 / (1.0 - base::Pow(s.beta2, t))),
              epsilon = static_cast<float>(s.epsilon),
              keep = static_cast<float>(1.0 - (decays ? step.rate * s.weight_decay : 0.0)),
              scale = step.scale;
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * scale;
    m[i] = b1 * m[i] + a1 * g;
    v[i] = b2 * v[i] + a2 * (g * g);
    w[i] = keep * w[i] - rate * m[i] / (__builtin_sqrtf(v[i] * root) + epsilon);
  }
}

}  // namespace fusiontree::train
