// A model's parameters and their gradients, as training knows them. A parameter is a tensor of the
// checkpoint, under its name and in its shape, whatever the model makes of it in memory.
#ifndef FUSIONTREE_MODELS_TRAINABLE_H_
#define FUSIONTREE_MODELS_TRAINABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "ops/context.h"

namespace fusiontree::models {

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  bool matrix = false;  // multiplied: in the compute type; all else is fp32

  int64_t elements() const;
};

// A forward under a tape and its backward add to the gradients; so one slot of R10 is: ZeroGradients,
// Forward, the losses (Head and HeadBackward over chunks of rows), Tape::Backward, ReadGradient.
class Trainable {
 public:
  virtual ~Trainable() = default;
  // In the order of their names.
  virtual const std::vector<Parameter>& parameters() const = 0;
  virtual void ZeroGradients(ops::Context& context) = 0;
  // d loss / d parameter, row-major in the parameter's shape.
  virtual void ReadGradient(size_t parameter, float* out) const = 0;
  // Takes d loss / d logits of Head's rows: adds to the head's gradient, and to the tape's of `hidden`.
  virtual void HeadBackward(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
                            const float* dlogits) const = 0;
  // Takes the values of all parameters, in their order, as if loaded: matrices rounded to the stored type. An
  // infinite or NaN value is an error that names its parameter.
  virtual base::Status Refresh(ops::Context& context, const std::vector<const float*>& values) = 0;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_TRAINABLE_H_
