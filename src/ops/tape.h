// The backward of a forward: what every operation leaves when a context has a tape, run last first (R10 of
// docs/numerics.md).
//
// The arrays of a forward (ops::Context::Take) stay where they are until the backward is done, and each has a
// gradient of the same shape, which comes to be when something flows into it. An operation records a function
// that turns the gradient of what it wrote into gradients of what it read: added, or stored where nothing
// came before it. An operation that works in place has one array for both, and turns its gradient in place.
// Memory that no array holds is a constant, which has no gradient.
#ifndef FUSIONTREE_OPS_TAPE_H_
#define FUSIONTREE_OPS_TAPE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "tensor/buffer.h"

namespace fusiontree::ops {

class Context;

// Used by the one caller of its context.
class Tape {
 public:
  // A new array of `floats` at `value`.
  void Declare(const float* value, int64_t floats);
  // The gradient of what lies at `value`, in an array, zero where nothing was added yet. Null of a constant.
  float* Gradient(const float* value);
  // The same for a caller that gives the whole array, which begins at `value`: it stores or (*add) adds.
  float* WholeGradient(const float* value, bool* add);
  bool HasGradient(const float* value) const;
  // `backward` takes up the gradient of the array that holds `out`; it does not run when there is none. The
  // gradient is given back once the first record of `out` has run.
  void Record(const float* out, std::function<void()> backward);
  // From a record that runs operations again: what is declared and recorded from here on belongs to them.
  // Backward runs it next, forgets those arrays, and calls `end`.
  void Nest(std::function<void()> end);

  // The values of an array that nothing needs any more until its backward: their memory is given back, and
  // `remake`, which finds no tape in the context, writes them again before what was recorded until here runs.
  void Drop(Context& context, float* value, std::function<void()> remake);

  // Smaller arrays are not worth the faults of their pages, and stay.
  void set_drop_from(size_t bytes) { drop_from_ = bytes; }

  // Runs everything, last first, and forgets it. What was recorded must still be there: the arrays, and the
  // sequences of the batch as the forward left them.
  void Backward();
  void Clear();
  bool empty() const { return records_.empty(); }

 private:
  struct Array {
    int64_t floats = 0;
    bool written = false;  // by a record
    bool dropped = false;
    tensor::Buffer gradient;
    bool flows = false;
  };
  struct Entry {
    const float* out;  // null: of Nest or Drop, which always run
    bool first;
    std::function<void()> backward;
  };
  using Arrays = std::map<const float*, Array>;
  Arrays::iterator Find(const float* value);
  void ForgetFrom(size_t declared);
  tensor::Buffer TakeBuffer(size_t bytes);
  void GiveBack(Array* array);

  size_t drop_from_ = size_t{1} << 20;
  Arrays arrays_;
  std::vector<const float*> declared_;  // in order
  std::vector<Entry> records_;
  std::multimap<size_t, tensor::Buffer> free_;
};

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_TAPE_H_
