// A layer that a training forward runs without a tape, and its backward once more with one (Chen et al.,
// 2016): between the two it keeps the rows that went in, and what TakeLasting gave it. Both times have the
// same bits, and so have the gradients.
#ifndef FUSIONTREE_OPS_RECOMPUTE_H_
#define FUSIONTREE_OPS_RECOMPUTE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ops/context.h"

namespace fusiontree::ops {

class Recomputation {
 public:
  // `body` changes x [floats], an array of the context's tape, in place; it holds all that it reads until the
  // backward. `restore` brings back what else the body changes, before it runs again. With no tape, or unless
  // Context::recompute: only the body.
  static void Run(Context& context, float* x, int64_t floats, std::function<void()> body,
                  std::function<void()> restore);

 private:
  friend class Context;
  explicit Recomputation(Context& context) : context_(context), tape_(*context.tape()) {}
  float* Take(int64_t floats);
  void RunAgain(const std::function<void()>& body);

  Context& context_;
  Tape& tape_;
  bool again_ = false;
  std::vector<float*> lasting_;
  size_t next_ = 0;
};

}  // namespace fusiontree::ops

#endif  // FUSIONTREE_OPS_RECOMPUTE_H_
