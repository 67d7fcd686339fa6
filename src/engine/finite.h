// The name of the operation that first made a non-finite value (R11): found by running the rows again with a probe.
#ifndef FUSIONTREE_ENGINE_FINITE_H_
#define FUSIONTREE_ENGINE_FINITE_H_

#include <string>

#include "ops/probe.h"

namespace fusiontree::engine {

class FiniteProbe : public ops::Probe {
 public:
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override;
  // "layer 3, down_proj, row 17": the first seen; empty when all was finite.
  const std::string& first() const { return first_; }

 private:
  std::string first_;
};

}  // namespace fusiontree::engine

#endif  // FUSIONTREE_ENGINE_FINITE_H_
