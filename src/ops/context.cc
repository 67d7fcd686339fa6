#include "ops/context.h"

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

}  // namespace fusiontree::ops
