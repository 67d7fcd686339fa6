// What the layers of one forward share: where each span's keys and values lie, and the angles of its
// positions.
#ifndef FUSIONTREE_NN_KV_VIEW_H_
#define FUSIONTREE_NN_KV_VIEW_H_

#include <vector>

#include "cache/batch.h"
#include "ops/attention.h"

namespace fusiontree::nn {

// The spans of `batch` as `kv_heads` heads of the layer at `place` see them.
std::vector<ops::KvSpan> SpansOfLayer(const cache::Batch& batch, const cache::CacheLayout::Place& place,
                                      int64_t kv_heads, int64_t window);

}  // namespace fusiontree::nn

#endif  // FUSIONTREE_NN_KV_VIEW_H_
