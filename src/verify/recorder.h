// A probe that keeps what it is shown, operation by operation.
#ifndef FUSIONTREE_VERIFY_RECORDER_H_
#define FUSIONTREE_VERIFY_RECORDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "ops/probe.h"
#include "verify/oracle_math.h"

namespace fusiontree::verify {

// Rows of several forwards are put after one another, in the order of observation.
class Recorder : public ops::Probe {
 public:
  // `wanted(layer, op)` null: everything is kept.
  explicit Recorder(std::function<bool(int, std::string_view)> wanted = nullptr)
      : wanted_(std::move(wanted)) {}

  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override;

  // Moves a value out. An error when it was never shown, or with changing widths.
  base::Result<Rows> Take(int layer, std::string_view op);
  // What was kept and not taken: "layer 3 gate".
  std::vector<std::string> Left() const;

 private:
  struct Value {
    int64_t rows = 0, columns = 0;
    bool ragged = false;
    std::vector<float> values;
  };
  std::function<bool(int, std::string_view)> wanted_;
  std::map<std::pair<int, std::string>, Value> values_;
};

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_RECORDER_H_
