// Filters, tests and methods of templates stand in static tables of (name, function).
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_NAMED_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_NAMED_H_

#include <cstddef>
#include <string_view>

namespace fusiontree::tokenizer {

template <typename Function>
struct Named {
  std::string_view name;
  Function function;
};

// The function of that name; null when the table has none.
template <typename Function, size_t kSize>
Function FindNamed(const Named<Function> (&table)[kSize], std::string_view name) {
  for (const Named<Function>& entry : table)
    if (entry.name == name) return entry.function;
  return nullptr;
}

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_NAMED_H_
