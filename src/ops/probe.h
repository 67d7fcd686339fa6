// A listener at the points of a forward that a model lists once. Null in ordinary runs. Hidden states,
// `verify` and the name of the operation that first made a non-finite value all hang here.
#ifndef FUSIONTREE_OPS_PROBE_H_
#define FUSIONTREE_OPS_PROBE_H_

#include <cstdint>
#include <string_view>

namespace fusiontree::ops {

class Probe {
 public:
  virtual ~Probe() = default;
  // Value of operation `op` of `layer` (-1: outside the layers): fp32 [rows, columns], row stride in floats,
  // rows in batch order. Valid during the call only. Called on the thread that runs the forward.
  virtual void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
                       int64_t stride) = 0;
};

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_PROBE_H_
