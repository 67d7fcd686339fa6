// Arguments of filters, tests, functions and methods, matched to their parameters as Python matches them.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_ARGUMENTS_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_ARGUMENTS_H_

#include <initializer_list>
#include <string>
#include <vector>

#include "tokenizer/template_objects.h"

namespace fusiontree::tokenizer {

class BoundArguments {
 public:
  // `what` is for messages: "the filter 'join'". An empty name is a positional-only parameter. The first
  // `required` must be given. Keeps pointers into `arguments`.
  static base::Result<BoundArguments> Bind(std::string what, const CallArguments& arguments,
                                           std::initializer_list<const char*> names, size_t required = 0);

  // Null when the argument was not given.
  const TemplateValue* operator[](size_t i) const { return values_[i]; }
  bool Has(size_t i) const { return values_[i] != nullptr; }
  bool HasValue(size_t i) const { return Has(i) && !values_[i]->is_none(); }
  base::Result<int64_t> Integer(size_t i, int64_t otherwise) const;
  base::Result<TemplateString> Text(size_t i, const char* otherwise) const;
  bool Flag(size_t i, bool otherwise = false) const;  // truth value

 private:
  std::string what_;
  std::vector<const TemplateValue*> values_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_ARGUMENTS_H_
