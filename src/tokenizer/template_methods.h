// Methods of Python's built-in types.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_METHODS_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_METHODS_H_

#include <string>
#include <string_view>

#include "tokenizer/template_interpreter.h"

namespace fusiontree::tokenizer {

// Whether Python's type of `value` has a public attribute of this name (known here or not).
bool HasMethod(const TemplateValue& value, std::string_view name);
// Those the immutable sandbox forbids: list.append, dict.update and the like.
bool IsForbiddenMethod(const TemplateValue& value, std::string_view name);

base::Result<TemplateValue> CallMethod(TemplateInterpreter& in, const TemplateValue& self,
                                       const std::string& name, const CallArguments& arguments);
// By type of `self`; each reports an unknown name.
base::Result<TemplateValue> CallStringMethod(TemplateInterpreter& in, const TemplateValue& self,
                                             const std::string& name, const CallArguments& arguments);
// Searching, splitting and joining, apart from the others for size; nothing when the name is none of them.
using StringMethod = base::Result<TemplateValue> (*)(TemplateInterpreter&, const TemplateString&,
                                                     const CallArguments&);
StringMethod FindSearchMethod(std::string_view name);
StringMethod FindCaseMethod(std::string_view name);

// Also used by filters.
base::Result<TemplateValue> ReplaceText(TemplateInterpreter& in, const TemplateString& text,
                                        const TemplateString& old_text, const TemplateString& new_text,
                                        int64_t count);
base::Result<std::vector<TemplateValue>> SplitLines(TemplateInterpreter& in, const TemplateString& text,
                                                    bool keep_ends);
base::Result<TemplateValue> PadText(TemplateInterpreter& in, const TemplateString& text, int64_t left,
                                    int64_t right, const TemplateString& fill);
base::Result<TemplateValue> CenterText(TemplateInterpreter& in, const TemplateString& text, int64_t width,
                                       const TemplateString& fill);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_METHODS_H_
