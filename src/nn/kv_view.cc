#include "nn/kv_view.h"

namespace fusiontree::nn {

static_assert(cache::kPagePositions == kernels::kKeyBlock);

std::vector<ops::KvSpan> SpansOfLayer(const cache::Batch& batch, const cache::CacheLayout& layout,
                                      size_t group, size_t layer_in_group) {
  std::vector<ops::KvSpan> spans;
  spans.reserve(batch.spans.size());
  const size_t heads = static_cast<size_t>(layout.kv_heads);
  for (const cache::Span& span : batch.spans) {
    const std::vector<std::byte*>& pages = span.sequence->pages(group);
    // R11: the cache must end where this span ends, or some position would be read or written wrongly.
    FT_CHECK(span.sequence->length() == span.first_position + span.count);
    FT_CHECK(static_cast<int64_t>(pages.size()) * cache::kPagePositions >= span.sequence->length());
    ops::KvSpan view{span.first_row, span.count, span.first_position, std::vector<std::vector<void*>>(heads)};
    for (size_t head = 0; head < heads; ++head) {
      const size_t offset = (layer_in_group * heads + head) * layout.block_bytes;
      view.blocks[head].reserve(pages.size());
      for (std::byte* page : pages) view.blocks[head].push_back(page ? page + offset : nullptr);
    }
    spans.push_back(std::move(view));
  }
  return spans;
}

}  // namespace fusiontree::nn
