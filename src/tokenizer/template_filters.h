// Filters and tests by name. Those that look at text are in template_filters_text.cc, those that look at
// sequences in template_filters_sequence.cc, the lazy ones in template_filters_lazy.cc.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_FILTERS_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_FILTERS_H_

#include <string>
#include <string_view>

#include "tokenizer/template_interpreter.h"

namespace fusiontree::tokenizer {

using TemplateFilter = base::Result<TemplateValue> (*)(TemplateInterpreter&, const TemplateValue&,
                                                       const CallArguments&);
// Null when there is none of that name.
TemplateFilter FindFilter(std::string_view name);
TemplateFilter FindTextFilter(std::string_view name);
TemplateFilter FindSequenceFilter(std::string_view name);
TemplateFilter FindLazyFilter(std::string_view name);
bool IsTestName(std::string_view name);

// Jinja's make_attrgetter: "a.b.0" is a path, an integer an index, none the item itself; `otherwise` (may be
// null) stands in for what is undefined; `fold` lowers strings.
base::Result<TemplateValue> FollowPath(TemplateInterpreter& in, TemplateValue item, const TemplateValue* path,
                                       const TemplateValue* otherwise, bool fold);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_FILTERS_H_
