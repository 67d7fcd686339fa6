// Which operation first made a value that is not finite (R11).
#ifndef FUSIONTREE_OPS_FINITE_PROBE_H_
#define FUSIONTREE_OPS_FINITE_PROBE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/table.h"
#include "ops/probe.h"

namespace fusiontree::ops {

class FiniteProbe : public Probe {
 public:
  explicit FiniteProbe(const kernels::Table& table) : table_(table) {}
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override;
  const std::string& where() const { return where_; }  // "layer 3, down_proj"; empty: nowhere
  int64_t row() const { return row_; }                 // of the forward, where it was

 private:
  const kernels::Table& table_;
  std::string where_;
  int64_t row_ = 0;
};

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_FINITE_PROBE_H_
