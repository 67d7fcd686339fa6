#include "nn/kv_view.h"

#include <algorithm>

namespace fusiontree::nn {

static_assert(cache::kPagePositions == kernels::kKeyBlock);

std::vector<ops::KvSpan> SpansOfLayer(const cache::Batch& batch, const cache::CacheLayout::Place& place,
                                      int64_t kv_heads, int64_t window) {
  std::vector<ops::KvSpan> spans;
  spans.reserve(batch.spans.size());
  const size_t heads = static_cast<size_t>(kv_heads);
  for (const cache::Span& span : batch.spans) {
    const cache::CacheLayout& layout = span.sequence->pool().layout();
    const cache::CacheLayout::Group& group = layout.groups[place.group];
    // A training step may draw another window, for sequences that begin with it: nothing is given back yet.
    FT_CHECK(group.kv_heads == kv_heads &&
             (group.window == window || (group.window > 0 && window > 0 && span.first_position == 0)));
    const std::vector<std::byte*>& pages = span.sequence->pages(place.group);
    // R11: the cache must end where this span ends, or some position would be read or written wrongly.
    FT_CHECK(span.sequence->length() == span.first_position + span.count);
    FT_CHECK(static_cast<int64_t>(pages.size()) * cache::kPagePositions >= span.sequence->length());
    // A long text has long lost the pages before its window.
    const int64_t first_key = window > 0 ? std::max<int64_t>(0, span.first_position - window + 1) : 0;
    const int64_t first_block = first_key / kernels::kSplitKeys * (kernels::kSplitKeys / kernels::kKeyBlock);
    ops::KvSpan view{span.first_row, span.count, span.first_position, first_block,
                     std::vector<std::vector<void*>>(heads)};
    for (size_t head = 0; head < heads; ++head) {
      const size_t offset = (place.layer_in_group * heads + head) * layout.block_bytes;
      view.blocks[head].reserve(pages.size() - static_cast<size_t>(first_block));
      for (size_t b = static_cast<size_t>(first_block); b < pages.size(); ++b)
        view.blocks[head].push_back(pages[b] ? pages[b] + offset : nullptr);
    }
    spans.push_back(std::move(view));
  }
  return spans;
}

}  // namespace fusiontree::nn
