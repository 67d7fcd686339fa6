// Python's format specification: [[fill]align][sign][#][0][width][,][.precision][type].
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_FORMAT_SPEC_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_FORMAT_SPEC_H_

#include <optional>
#include <string>

#include "tokenizer/template_interpreter.h"

namespace fusiontree::tokenizer {

inline constexpr int64_t kMaxFormatWidth = 1'000'000;
inline constexpr int64_t kMaxFormatPrecision = 1000;  // of numbers; no double has more digits that matter

struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =
  char sign = '-';
  bool alternate = false;  // #
  bool zero = false;
  int64_t width = 0;
  char grouping = '\0';  // , or _
  std::optional<int64_t> precision;
  int64_t least_digits = 0;  // of integers (%.5d)
  char type = '\0';
};

// format(value, spec)
base::Status FormatValue(TemplateInterpreter& in, const TemplateValue& value, const std::string& spec,
                         TextBuilder* out);
base::Status FormatText(TemplateInterpreter& in, const TemplateString& text, const FormatSpec& spec,
                        TextBuilder* out);
base::Status FormatNumber(TemplateInterpreter& in, const TemplateValue& number, const FormatSpec& spec,
                          TextBuilder* out);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_FORMAT_SPEC_H_
