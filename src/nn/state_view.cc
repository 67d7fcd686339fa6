#include "nn/state_view.h"

#include "base/check.h"

namespace fusiontree::nn {

static_assert(cache::kStatePanel == kernels::kPanel);

std::vector<ops::StateSpan> StatesOfBatch(const cache::Batch& batch, size_t index) {
  std::vector<ops::StateSpan> spans;
  spans.reserve(batch.spans.size());
  for (const cache::Span& span : batch.spans) {
    // R11: the state is the one before this span's first row.
    FT_CHECK(span.sequence->length() == span.first_position + span.count);
    if (index == kNoState) {
      spans.push_back({span.first_row, span.count, nullptr, 0});
      continue;
    }
    const cache::CacheLayout::State& state = span.sequence->pool().layout().states[index];
    spans.push_back({span.first_row, span.count, span.sequence->state(index),
                     static_cast<int64_t>(cache::CacheLayout::StateStride(state))});
  }
  return spans;
}

}  // namespace fusiontree::nn
