#include "tokenizer/template_arguments.h"

#include <string_view>
#include <utility>

#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;

Result<BoundArguments> BoundArguments::Bind(std::string what, const CallArguments& arguments,
                                            std::initializer_list<const char*> names, size_t required) {
  BoundArguments bound;
  bound.what_ = std::move(what);
  bound.values_.resize(names.size());
  if (arguments.positional.size() > names.size()) {
    return BadInput("{} takes at most {} arguments, not {}", bound.what_, names.size(),
                    arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound.values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    size_t i = 0;
    while (i < names.size() && name != names.begin()[i]) ++i;
    if (i == names.size()) return BadInput("{} has no argument named '{}'", bound.what_, name);
    if (bound.Has(i)) return BadInput("{} got its argument '{}' twice", bound.what_, name);
    bound.values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound.Has(i)) return BadInput("{} needs at least {} arguments", bound.what_, required);
  }
  return bound;
}

Result<int64_t> BoundArguments::Integer(size_t i, int64_t otherwise) const {
  if (!Has(i)) return otherwise;
  if (values_[i]->is_undefined()) return BadInput("{}", values_[i]->why());
  if (values_[i]->is_integer()) return values_[i]->integer();
  return BadInput("{} needs an integer as argument {}, not a value of type {}", what_, i + 1,
                  values_[i]->TypeName());
}

Result<TemplateString> BoundArguments::Text(size_t i, const char* otherwise) const {
  if (!Has(i)) return TemplateString{otherwise, {}, false};
  if (values_[i]->is_undefined()) return BadInput("{}", values_[i]->why());
  if (values_[i]->is_string()) return values_[i]->string();
  return BadInput("{} needs a string as argument {}, not a value of type {}", what_, i + 1,
                  values_[i]->TypeName());
}

bool BoundArguments::Flag(size_t i, bool otherwise) const { return Has(i) ? Truthy(*values_[i]) : otherwise; }

}  // namespace fusiontree::tokenizer
