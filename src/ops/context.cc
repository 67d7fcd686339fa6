#include "ops/context.h"

#include "base/check.h"
#include "ops/recompute.h"

namespace fusiontree::ops {

Context::Context(base::ThreadPool* pool, const kernels::Table* table, parallel::Communicator* communicator)
    : table_(table), communicator_(communicator) {
  UsePool(pool);
}

void Context::UsePool(base::ThreadPool* pool) {
  pool_ = pool;
  base::Result<tensor::Buffer> scratch =
      tensor::Buffer::Create(kThreadBytes * static_cast<size_t>(pool->size()));
  FT_CHECK(scratch.ok());
  scratch_ = std::move(scratch).value();
}

void Context::set_tape(Tape* tape) {
  FT_CHECK(tape == nullptr || ranks() == 1);
  tape_ = tape;
}

float* Context::Take(int64_t floats) {
  float* value = values_.TakeArray<float>(floats);
  if (tape_ != nullptr) tape_->Declare(value, floats);
  return value;
}

float* Context::TakeLasting(int64_t floats) {
  return recomputation_ == nullptr ? Take(floats) : recomputation_->Take(floats);
}

void Context::StartForward() {
  if (tape_ == nullptr || tape_->empty()) {
    values_.Reset();
    lasting_.Reset();
  }
  scratch_arena_.Reset();
}

}  // namespace fusiontree::ops
