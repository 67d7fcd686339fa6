// Python's operators, conversions and printing on template values.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_OPERATORS_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_OPERATORS_H_

#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/template_ast.h"
#include "tokenizer/template_interpreter.h"

namespace fusiontree::tokenizer {

bool Truthy(const TemplateValue& value);
// len(value), or an error that names the type.
base::Result<int64_t> LengthOf(TemplateInterpreter& in, const TemplateValue& value);
bool HasLength(const TemplateValue& value);
bool IsIterable(const TemplateValue& value);
bool IsCallable(const TemplateValue& value);

base::Result<TemplateValue> BinaryOperation(TemplateInterpreter& in, TemplateOp op, const TemplateValue& a,
                                            const TemplateValue& b);
base::Result<TemplateValue> Negate(const TemplateValue& value);
// Comparison and membership.
base::Result<bool> Compare(TemplateInterpreter& in, TemplateOp op, const TemplateValue& a,
                           const TemplateValue& b);
base::Result<bool> LessThan(TemplateInterpreter& in, const TemplateValue& a, const TemplateValue& b);

// str(value) and repr(value), with marks.
base::Status AppendStr(TemplateInterpreter& in, const TemplateValue& value, TextBuilder* out);
base::Status AppendRepr(TemplateInterpreter& in, const TemplateValue& value, TextBuilder* out);
base::Result<TemplateString> Str(TemplateInterpreter& in, const TemplateValue& value);
std::string FloatRepr(double value);
// Rounded half to even at `digits` decimals, as round() does.
double RoundDecimals(double value, int digits);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
base::Result<TemplateValue> ToJson(TemplateInterpreter& in, const TemplateValue& value,
                                   const JsonStyle& style);

// "..." % value, and "...".format(...).
base::Result<TemplateValue> PercentFormat(TemplateInterpreter& in, const TemplateString& format,
                                          const TemplateValue& value);
base::Result<TemplateValue> BraceFormat(TemplateInterpreter& in, const TemplateString& format,
                                        const CallArguments& arguments);

TemplateString Escaped(const TemplateString& text);  // HTML, as markupsafe does; gives markup

// Python's int(text, base) and float(text); nothing when the text is no number. Integers beyond 64 bits are
// an error.
base::Result<std::optional<int64_t>> ParseInteger(std::string_view text, int base);
std::optional<double> ParseReal(std::string_view text);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_OPERATORS_H_
