// Tests (`is name`), and the entry points that find filters and tests by name.
#include <algorithm>
#include <iterator>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_filters.h"
#include "tokenizer/template_methods.h"
#include "tokenizer/template_named.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

using In = TemplateInterpreter;
using Test = Result<bool> (*)(In&, const TemplateValue&, const CallArguments&);

// A test without arguments that only looks at the value.
template <bool (*kHolds)(const TemplateValue&)>
Result<bool> Simple(In&, const TemplateValue& value, const CallArguments& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the test", arguments, {}).status());
  return kHolds(value);
}

bool IsDefined(const TemplateValue& v) { return !v.is_undefined(); }
bool IsUndefined(const TemplateValue& v) { return v.is_undefined(); }
bool IsNone(const TemplateValue& v) { return v.is_none(); }
bool IsBoolean(const TemplateValue& v) { return v.is(Kind::kBool); }
bool IsTrue(const TemplateValue& v) { return v.is(Kind::kBool) && v.boolean(); }
bool IsFalse(const TemplateValue& v) { return v.is(Kind::kBool) && !v.boolean(); }
bool IsInteger(const TemplateValue& v) { return v.is(Kind::kInt); }
bool IsFloat(const TemplateValue& v) { return v.is(Kind::kFloat); }
bool IsNumber(const TemplateValue& v) { return v.is_number(); }
bool IsString(const TemplateValue& v) { return v.is_string(); }
bool IsMapping(const TemplateValue& v) { return v.is(Kind::kDict); }
bool IsSequence(const TemplateValue& v) {
  return v.is_undefined() || v.is_string() || v.is_sequence() || v.is(Kind::kDict) ||
         v.As<RangeObject>() != nullptr;
}
bool IsIterableValue(const TemplateValue& v) { return IsIterable(v) || v.As<LoopObject>() != nullptr; }
bool IsCallableValue(const TemplateValue& v) { return IsCallable(v); }
bool IsEscaped(const TemplateValue& v) { return v.is_string() && v.string().markup; }
bool IsFilter(const TemplateValue& v) { return v.is_string() && FindFilter(v.text()) != nullptr; }
bool IsTest(const TemplateValue& v) { return v.is_string() && IsTestName(v.text()); }

template <TemplateOp kOp>
Result<bool> Operator(In& in, const TemplateValue& value, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("the test", arguments, {""}, 1));
  return Compare(in, kOp, value, *args[0]);
}

Result<bool> IsIn(In& in, const TemplateValue& value, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the test 'in'", arguments, {"seq"}, 1));
  return Compare(in, TemplateOp::kIn, value, *args[0]);
}

Result<bool> SameAs(In&, const TemplateValue& value, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the test 'sameas'", arguments, {"other"}, 1));
  return value.Same(*args[0]);
}

Result<bool> Remainder(In& in, const TemplateValue& value, const TemplateValue& divisor, int64_t wanted) {
  FT_ASSIGN_OR_RETURN(const TemplateValue rest, BinaryOperation(in, TemplateOp::kMod, value, divisor));
  return EqualValues(rest, TemplateValue::Int(wanted), in.budget());
}
Result<bool> IsOdd(In& in, const TemplateValue& value, const CallArguments& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the test 'odd'", arguments, {}).status());
  return Remainder(in, value, TemplateValue::Int(2), 1);
}
Result<bool> IsEven(In& in, const TemplateValue& value, const CallArguments& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the test 'even'", arguments, {}).status());
  return Remainder(in, value, TemplateValue::Int(2), 0);
}
Result<bool> DivisibleBy(In& in, const TemplateValue& value, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the test 'divisibleby'", arguments, {"num"}, 1));
  return Remainder(in, value, *args[0], 0);
}

constexpr char kIsUpper[] = "isupper";
constexpr char kIsLower[] = "islower";
template <const char* kMethod>
Result<bool> Case(In& in, const TemplateValue& value, const CallArguments& arguments) {
  FT_ASSIGN_OR_RETURN(const TemplateString text, Str(in, value));
  FT_ASSIGN_OR_RETURN(const TemplateValue result, FindCaseMethod(kMethod)(in, text, arguments));
  return result.boolean();
}

constexpr Named<Test> kTests[] = {
    {"defined", Simple<IsDefined>},
    {"undefined", Simple<IsUndefined>},
    {"none", Simple<IsNone>},
    {"boolean", Simple<IsBoolean>},
    {"true", Simple<IsTrue>},
    {"false", Simple<IsFalse>},
    {"integer", Simple<IsInteger>},
    {"float", Simple<IsFloat>},
    {"number", Simple<IsNumber>},
    {"string", Simple<IsString>},
    {"mapping", Simple<IsMapping>},
    {"sequence", Simple<IsSequence>},
    {"iterable", Simple<IsIterableValue>},
    {"callable", Simple<IsCallableValue>},
    {"escaped", Simple<IsEscaped>},
    {"filter", Simple<IsFilter>},
    {"test", Simple<IsTest>},
    {"odd", IsOdd},
    {"even", IsEven},
    {"divisibleby", DivisibleBy},
    {"upper", Case<kIsUpper>},
    {"lower", Case<kIsLower>},
    {"sameas", SameAs},
    {"in", IsIn},
    {"==", Operator<TemplateOp::kEq>},
    {"eq", Operator<TemplateOp::kEq>},
    {"equalto", Operator<TemplateOp::kEq>},
    {"!=", Operator<TemplateOp::kNe>},
    {"ne", Operator<TemplateOp::kNe>},
    {">", Operator<TemplateOp::kGt>},
    {"gt", Operator<TemplateOp::kGt>},
    {"greaterthan", Operator<TemplateOp::kGt>},
    {">=", Operator<TemplateOp::kGe>},
    {"ge", Operator<TemplateOp::kGe>},
    {"<", Operator<TemplateOp::kLt>},
    {"lt", Operator<TemplateOp::kLt>},
    {"lessthan", Operator<TemplateOp::kLt>},
    {"<=", Operator<TemplateOp::kLe>},
    {"le", Operator<TemplateOp::kLe>},
};

Test FindTest(std::string_view name) { return FindNamed(kTests, name); }

}  // namespace

TemplateFilter FindFilter(std::string_view name) {
  TemplateFilter filter = FindTextFilter(name);
  if (filter == nullptr) filter = FindSequenceFilter(name);
  return filter != nullptr ? filter : FindLazyFilter(name);
}

bool IsTestName(std::string_view name) { return FindTest(name) != nullptr; }

Result<TemplateValue> TemplateInterpreter::ApplyFilter(const std::string& name, const TemplateValue& value,
                                                       const CallArguments& arguments) {
  FT_RETURN_IF_ERROR(Step());
  const TemplateFilter filter = FindFilter(name);
  if (filter == nullptr) return BadInput("there is no filter '{}'", name);
  return filter(*this, value, arguments);
}

Result<bool> TemplateInterpreter::ApplyTest(const std::string& name, const TemplateValue& value,
                                            const CallArguments& arguments) {
  FT_RETURN_IF_ERROR(Step());
  const Test test = FindTest(name);
  if (test == nullptr) return BadInput("there is no test '{}'", name);
  return test(*this, value, arguments);
}

}  // namespace fusiontree::tokenizer
