// Which methods Python's types have, and those of list, tuple, dict, numbers, loop and range.
#include "tokenizer/template_methods.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

using Names = std::span<const std::string_view>;

constexpr std::string_view kStringMethods[] = {
    "capitalize", "casefold",     "center",       "count",   "encode",     "endswith",    "expandtabs",
    "find",       "format",       "format_map",   "index",   "isalnum",    "isalpha",     "isascii",
    "isdecimal",  "isdigit",      "isidentifier", "islower", "isnumeric",  "isprintable", "isspace",
    "istitle",    "isupper",      "join",         "ljust",   "lower",      "lstrip",      "maketrans",
    "partition",  "removeprefix", "removesuffix", "replace", "rfind",      "rindex",      "rjust",
    "rpartition", "rsplit",       "rstrip",       "split",   "splitlines", "startswith",  "strip",
    "swapcase",   "title",        "translate",    "upper",   "zfill"};
constexpr std::string_view kListMethods[] = {"append", "clear", "copy",   "count",   "extend", "index",
                                             "insert", "pop",   "remove", "reverse", "sort"};
constexpr std::string_view kListForbidden[] = {"append", "reverse", "insert", "sort", "extend", "remove"};
constexpr std::string_view kTupleMethods[] = {"count", "index"};
constexpr std::string_view kDictMethods[] = {"clear", "copy",    "fromkeys",   "get",    "items", "keys",
                                             "pop",   "popitem", "setdefault", "update", "values"};
constexpr std::string_view kDictForbidden[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kIntMethods[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
    "from_bytes",       "imag",      "numerator",  "real",      "to_bytes"};
constexpr std::string_view kFloatMethods[] = {"as_integer_ratio", "conjugate", "fromhex", "hex", "imag",
                                              "is_integer",       "real"};
constexpr std::string_view kRangeMethods[] = {"count", "index", "start", "step", "stop"};

bool IsIn(Names names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<TemplateValue> CountOrIndex(TemplateInterpreter& in, const TemplateValue& self,
                                   const std::string& name, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind(name, arguments, {"", "", ""}, 1));
  const auto size = static_cast<int64_t>(self.items().size());
  FT_ASSIGN_OR_RETURN(int64_t begin, args.Integer(1, 0));
  FT_ASSIGN_OR_RETURN(int64_t end, args.Integer(2, size));
  if (begin < 0) begin = std::max<int64_t>(0, begin + size);
  if (end < 0) end += size;
  int64_t count = 0;
  for (int64_t i = begin; i < std::min(end, size); ++i) {
    const bool equal = EqualValues(self.items()[static_cast<size_t>(i)], *args[0], in.budget());
    FT_RETURN_IF_ERROR(in.Step());
    if (equal && name == "index") return TemplateValue::Int(i);
    count += equal;
  }
  if (name == "index") return BadInput("the value is not in the list");
  return TemplateValue::Int(count);
}

Result<TemplateValue> CallListMethod(TemplateInterpreter& in, const TemplateValue& self,
                                     const std::string& name, const CallArguments& arguments) {
  if (name == "count" || name == "index") return CountOrIndex(in, self, name, arguments);
  if (name == "copy" || name == "clear") {
    FT_RETURN_IF_ERROR(BoundArguments::Bind(name, arguments, {}).status());
    if (name == "copy") return in.MakeList(self.items());
    self.mutable_items().clear();
    return TemplateValue();
  }
  if (name != "pop") return BadInput("the list method '{}' is not available", name);
  // Jinja's immutable sandbox forbids append but lets pop through; templates use it.
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("pop", arguments, {""}));
  std::vector<TemplateValue>& items = self.mutable_items();
  const auto size = static_cast<int64_t>(items.size());
  FT_ASSIGN_OR_RETURN(int64_t i, args.Integer(0, -1));
  if (i < 0) i += size;
  if (i < 0 || i >= size) return BadInput("pop from index {} of a list of {} values", i, size);
  FT_RETURN_IF_ERROR(in.Step((size - i) / 16));
  TemplateValue item = std::move(items[static_cast<size_t>(i)]);
  items.erase(items.begin() + i);
  return item;
}

Result<TemplateValue> CallDictMethod(TemplateInterpreter& in, const TemplateValue& self,
                                     const std::string& name, const CallArguments& arguments) {
  if (name == "get") {
    FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("get", arguments, {"", ""}, 1));
    if (!IsHashable(*args[0])) return BadInput("a value of type {} cannot be a key", args[0]->TypeName());
    const TemplateValue* value = self.dict().Find(*args[0], in.budget());
    if (value != nullptr) return *value;
    return args.Has(1) ? *args[1] : TemplateValue();
  }
  if (name == "fromkeys") return BadInput("the dict method 'fromkeys' is not available");
  FT_RETURN_IF_ERROR(BoundArguments::Bind(name, arguments, {}).status());
  if (name == "copy") {
    FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(self.dict().items().size())));
    return in.MakeDict(std::make_shared<TemplateDict>(self.dict()));
  }
  using What = DictViewObject::What;
  const What what = name == "keys" ? What::kKeys : name == "values" ? What::kValues : What::kItems;
  return TemplateValue::Object(std::make_shared<DictViewObject>(what, self.shared_dict()));
}

Result<TemplateValue> CallLoopMethod(TemplateInterpreter& in, LoopObject* loop, const std::string& name,
                                     const CallArguments& arguments) {
  if (!arguments.named.empty()) return BadInput("loop.{} takes no named arguments", name);
  if (name == "cycle") {
    if (arguments.positional.empty()) return BadInput("loop.cycle needs values to cycle through");
    const auto count = static_cast<int64_t>(arguments.positional.size());
    return arguments.positional[static_cast<size_t>(std::max<int64_t>(loop->index0, 0) % count)];
  }
  FT_ASSIGN_OR_RETURN(TemplateValue now, in.MakeTuple(arguments.positional));
  const bool same = loop->last_changed.has_value() && EqualValues(*loop->last_changed, now, in.budget());
  FT_RETURN_IF_ERROR(in.Step());
  if (!loop->ended) loop->last_changed = std::move(now);
  return TemplateValue::Bool(!same);
}

}  // namespace

bool HasMethod(const TemplateValue& value, std::string_view name) {
  switch (value.kind()) {
    case Kind::kString:
      return IsIn(kStringMethods, name);
    case Kind::kList:
      return IsIn(kListMethods, name);
    case Kind::kTuple:
      return IsIn(kTupleMethods, name);
    case Kind::kDict:
      return IsIn(kDictMethods, name);
    case Kind::kBool:
    case Kind::kInt:
      return IsIn(kIntMethods, name);
    case Kind::kFloat:
      return IsIn(kFloatMethods, name);
    case Kind::kObject:
      return value.As<RangeObject>() != nullptr && IsIn(kRangeMethods, name);
    default:
      return false;
  }
}

bool IsForbiddenMethod(const TemplateValue& value, std::string_view name) {
  return (value.is(Kind::kList) && IsIn(kListForbidden, name)) ||
         (value.is(Kind::kDict) && IsIn(kDictForbidden, name));
}

Result<TemplateValue> CallMethod(TemplateInterpreter& in, const TemplateValue& self, const std::string& name,
                                 const CallArguments& arguments) {
  switch (self.kind()) {
    case Kind::kString:
      return CallStringMethod(in, self, name, arguments);
    case Kind::kList:
      return CallListMethod(in, self, name, arguments);
    case Kind::kTuple:
      return CountOrIndex(in, self, name, arguments);
    case Kind::kDict:
      return CallDictMethod(in, self, name, arguments);
    case Kind::kFloat:
      if (name == "is_integer") {
        FT_RETURN_IF_ERROR(BoundArguments::Bind(name, arguments, {}).status());
        return TemplateValue::Bool(std::isfinite(self.number()) &&
                                   self.number() == std::floor(self.number()));
      }
      break;
    case Kind::kObject:
      if (const auto loop = self.As<LoopObject>()) return CallLoopMethod(in, loop.get(), name, arguments);
      break;
    default:
      break;
  }
  return BadInput("the {} method '{}' is not available", self.TypeName(), name);
}

}  // namespace fusiontree::tokenizer
