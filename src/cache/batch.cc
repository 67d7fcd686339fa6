#include "cache/batch.h"

namespace fusiontree::cache {

base::Status Batch::Add(SequenceState* sequence, const int32_t* tokens, int64_t count) {
  for (const Span& span : spans) FT_CHECK(span.sequence != sequence);
  const int64_t first = sequence->length();
  FT_RETURN_IF_ERROR(sequence->Extend(count));
  spans.push_back({sequence, rows(), first, count});
  ids.insert(ids.end(), tokens, tokens + count);
  return base::OkStatus();
}

}  // namespace fusiontree::cache
