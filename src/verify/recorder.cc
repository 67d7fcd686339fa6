#include "verify/recorder.h"

namespace fusiontree::verify {

void Recorder::Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
                       int64_t stride) {
  if (wanted_ && !wanted_(layer, op)) return;
  Value& to = values_[{layer, std::string(op)}];
  if (to.rows > 0 && to.columns != columns) to.ragged = true;
  to.columns = columns;
  to.rows += rows;
  for (int64_t r = 0; r < rows; ++r)
    to.values.insert(to.values.end(), value + r * stride, value + r * stride + columns);
}

base::Result<Rows> Recorder::Take(int layer, std::string_view op) {
  const auto it = values_.find({layer, std::string(op)});
  if (it == values_.end()) return base::Failed("layer {} {}: the engine reports no value of it", layer, op);
  if (it->second.ragged)
    return base::Failed("layer {} {}: the engine reports rows of changing width", layer, op);
  Rows out(it->second.rows, it->second.columns);
  for (size_t i = 0; i < out.values.size(); ++i) out.values[i] = static_cast<double>(it->second.values[i]);
  values_.erase(it);
  return out;
}

std::vector<std::string> Recorder::Left() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : values_) out.push_back(fmt::format("layer {} {}", key.first, key.second));
  return out;
}

}  // namespace fusiontree::verify
