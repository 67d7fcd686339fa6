// The global functions of a chat template.
#include <array>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_interpreter.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {
namespace {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

Result<TemplateValue> Range(TemplateInterpreter&, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("range", arguments, {"", "", ""}, 1));
  FT_ASSIGN_OR_RETURN(int64_t start, args.Integer(0, 0));
  FT_ASSIGN_OR_RETURN(int64_t stop, args.Integer(1, 0));
  FT_ASSIGN_OR_RETURN(const int64_t step, args.Integer(2, 1));
  if (!args.Has(1)) stop = std::exchange(start, 0);
  if (step == 0) return BadInput("range cannot have step 0");
  constexpr int64_t kLargest = int64_t{1} << 60;  // so that no difference overflows
  for (const int64_t v : {start, stop, step}) {
    if (v > kLargest || v < -kLargest) return BadInput("range cannot reach {}", v);
  }
  const int64_t distance = step > 0 ? stop - start : start - stop;
  const int64_t count = distance <= 0 ? 0 : (distance - 1) / std::abs(step) + 1;
  constexpr int64_t kMaxRange = 100000;  // jinja2.sandbox.MAX_RANGE
  if (count > kMaxRange)
    return BadInput("a range of {} numbers is longer than the {} allowed", count, kMaxRange);
  return TemplateValue::Object(std::make_shared<RangeObject>(start, stop, step, count));
}

// dict(mapping or pairs, name=value ...)
Status FillDict(TemplateInterpreter& in, const CallArguments& arguments, TemplateDict* dict) {
  if (arguments.positional.size() > 1)
    return BadInput("a dict is made from at most one value and named ones");
  if (!arguments.positional.empty()) {
    const TemplateValue& from = arguments.positional[0];
    if (from.is(Kind::kDict)) {
      for (const auto& [key, value] : from.dict().items()) FT_RETURN_IF_ERROR(in.SetItem(dict, key, value));
    } else {
      FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> pairs, in.Collect(from));
      for (const TemplateValue& pair : pairs) {
        FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> parts, in.Collect(pair));
        if (parts.size() != 2) return BadInput("a dict is made from pairs, not from {} values", parts.size());
        FT_RETURN_IF_ERROR(in.SetItem(dict, parts[0], parts[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    FT_RETURN_IF_ERROR(in.SetItem(dict, TemplateValue::String(name), value));
  }
  return base::OkStatus();
}

Result<TemplateValue> Dict(TemplateInterpreter& in, const CallArguments& arguments) {
  auto dict = std::make_shared<TemplateDict>();
  FT_RETURN_IF_ERROR(FillDict(in, arguments, dict.get()));
  return in.MakeDict(std::move(dict));
}

Result<TemplateValue> Namespace(TemplateInterpreter& in, const CallArguments& arguments) {
  auto space = std::make_shared<NamespaceObject>();
  FT_RETURN_IF_ERROR(in.Register(space));
  FT_RETURN_IF_ERROR(FillDict(in, arguments, space->attributes.get()));
  for (const auto& [key, unused] : space->attributes->items()) {
    if (key.is_string() && key.text().starts_with('_')) {
      return BadInput("a namespace cannot store the underscored attribute '{}'", key.text());
    }
  }
  return TemplateValue::Object(std::move(space));
}

Result<TemplateValue> RaiseException(TemplateInterpreter& in, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("raise_exception", arguments, {"message"}, 1));
  FT_ASSIGN_OR_RETURN(const TemplateString message, Str(in, *args[0]));
  constexpr size_t kShown = 1000;
  return BadInput("the template refuses these messages: {}", message.text.substr(0, kShown));
}

// datetime.now().strftime(format): a time without zone, so %z and %Z are empty; whole seconds, so %f is
// zeros.
Result<TemplateValue> StrftimeNow(TemplateInterpreter& in, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("strftime_now", arguments, {"format"}, 1));
  FT_ASSIGN_OR_RETURN(const TemplateString format, args.Text(0, ""));
  const std::time_t seconds =
      in.limits().now.has_value() ? static_cast<std::time_t>(*in.limits().now) : std::time(nullptr);
  std::tm parts{};
  if (localtime_r(&seconds, &parts) == nullptr) return BadInput("the time {} has no date", seconds);
  TextBuilder text = in.NewText();
  const std::string& f = format.text;
  for (size_t i = 0; i < f.size(); ++i) {
    if (f[i] != '%' || i + 1 == f.size()) {
      text.Append(std::string_view(f).substr(i, 1));
      continue;
    }
    size_t end = i + 1;
    if (f[end] == '-' && end + 1 < f.size()) ++end;  // glibc's %-d: no padding
    const char kind = f[end];
    if (kind == 'f') {
      text.Append("000000");
    } else if (kind == '%') {
      text.Append("%");
    } else if (std::string_view("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ").find(kind) ==
               std::string_view::npos) {
      return BadInput("strftime_now does not know the format '{}'", f.substr(i, end + 1 - i));
    } else if (kind != 'z' && kind != 'Z') {
      const std::string one = f.substr(i, end + 1 - i);
      std::array<char, 128> buffer;
      text.Append(
          std::string_view(buffer.data(), std::strftime(buffer.data(), buffer.size(), one.c_str(), &parts)));
    }
    i = end;
  }
  return in.MakeString(&text);
}

}  // namespace

FunctionObject::Function FindFunction(std::string_view name) {
  if (name == "range") return Range;
  if (name == "dict") return Dict;
  if (name == "namespace") return Namespace;
  if (name == "raise_exception") return RaiseException;
  if (name == "strftime_now") return StrftimeNow;
  return nullptr;
}

}  // namespace fusiontree::tokenizer
