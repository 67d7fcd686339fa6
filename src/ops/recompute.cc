#include "ops/recompute.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fusiontree::ops {

float* Recomputation::Take(int64_t floats) {
  if (again_) {
    FT_CHECK(next_ < lasting_.size());
    return lasting_[next_++];
  }
  lasting_.push_back(context_.lasting_.TakeArray<float>(floats));
  tape_.Declare(lasting_.back(), floats);
  return lasting_.back();
}

void Recomputation::RunAgain(const std::function<void()>& body) {
  again_ = true;
  auto memory = std::make_shared<tensor::Arena::Scope>(context_.values_);
  tape_.Nest([memory]() mutable { memory.reset(); });
  Probe* probe = context_.probe();
  context_.set_probe(nullptr);  // which has seen it all
  context_.recomputation_ = this;
  body();
  context_.recomputation_ = nullptr;
  context_.set_probe(probe);
}

void Recomputation::Run(Context& context, float* x, int64_t floats, std::function<void()> body,
                        std::function<void()> restore) {
  Tape* tape = context.tape();
  if (tape == nullptr || !context.recompute()) return body();
  std::shared_ptr<Recomputation> layer(new Recomputation(context));
  float* before = context.lasting_.TakeArray<float>(floats);
  std::copy_n(x, floats, before);
  context.set_tape(nullptr);
  context.recomputation_ = layer.get();
  body();
  context.recomputation_ = nullptr;
  context.set_tape(tape);
  tape->Record(x, [layer, x, floats, before, body = std::move(body), restore = std::move(restore)] {
    std::copy_n(before, floats, x);
    restore();
    layer->RunAgain(body);
  });
}

}  // namespace fusiontree::ops
