#include "tokenizer/model.h"

#include <cstring>

#include "tokenizer/vocabulary.h"

namespace fusiontree::tokenizer {

void WordCache::EncodeWord(const Model& model, std::string_view word, MergeScratch* scratch,
                           std::vector<int32_t>* out) {
  if (word.empty()) return;
  if (word.size() > kMaxBytes) {
    model.EncodeWord(word, scratch, out);
    return;
  }
  Entry& entry = entries_[HashBytes(word) & (kEntries - 1)];
  if (entry.bytes == word.size() && std::memcmp(entry.word, word.data(), word.size()) == 0) {
    out->insert(out->end(), entry.ids, entry.ids + entry.count);
    return;
  }
  const size_t before = out->size();
  model.EncodeWord(word, scratch, out);
  const size_t count = out->size() - before;
  if (count > kMaxIds) return;
  entry.bytes = static_cast<uint8_t>(word.size());
  entry.count = static_cast<uint8_t>(count);
  std::memcpy(entry.word, word.data(), word.size());
  std::memcpy(entry.ids, out->data() + before, count * sizeof(int32_t));
}

}  // namespace fusiontree::tokenizer
