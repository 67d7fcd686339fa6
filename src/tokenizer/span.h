#ifndef FUSIONTREE_TOKENIZER_SPAN_H_
#define FUSIONTREE_TOKENIZER_SPAN_H_

#include <cstddef>

namespace fusiontree::tokenizer {

// Byte range [begin, end) of a text.
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const Span&) const = default;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_SPAN_H_
