// Expressions.
#include <utility>

#include "tokenizer/template_interpreter.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

Result<TemplateValue> TemplateInterpreter::Eval(const Expr& expr) {
  if (Status status = Step(); !status.ok()) return Locate(status, expr.line);
  if (expr.kind == ExprKind::kConst) return expr.value;
  if (depth_ >= limits_.depth) {
    return Locate(BadInput("the template nests deeper than {} calls and blocks", limits_.depth), expr.line);
  }
  ++depth_;
  Result<TemplateValue> value = EvalNode(expr);
  --depth_;
  if (!value.ok()) return Locate(value.status(), expr.line);
  return value;
}

Result<TemplateValue> TemplateInterpreter::EvalNode(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.value;
    case ExprKind::kName:
      return Lookup(expr.id, expr.name);
    case ExprKind::kTuple:
    case ExprKind::kList:
      return EvalSequence(expr);
    case ExprKind::kDict:
      return EvalDict(expr);
    case ExprKind::kNegate:
    case ExprKind::kPlus:
    case ExprKind::kNot:
      return EvalSign(expr);
    case ExprKind::kBinary:
      return EvalBinary(expr);
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return EvalAndOr(expr);
    case ExprKind::kConcat:
      return EvalConcat(expr);
    case ExprKind::kCompare:
      return EvalCompare(expr);
    case ExprKind::kCondition:
      return EvalCondition(expr);
    case ExprKind::kAttribute:
    case ExprKind::kSubscript:
      return EvalSubscript(expr);
    case ExprKind::kSlice:
      return EvalSlice(expr);
    case ExprKind::kCall:
      return EvalCall(expr);
    case ExprKind::kFilter:
      return EvalFilter(expr);
    case ExprKind::kTest:
      return EvalTest(expr);
  }
  return TemplateValue();
}

Result<TemplateValue> TemplateInterpreter::Lookup(int id, const std::string& name) {
  for (TemplateScope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    FT_RETURN_IF_ERROR(Step(static_cast<int64_t>(scope->variables.size()) / 8));
    if (const TemplateValue* found = scope->Find(id)) return *found;
  }
  const std::optional<TemplateValue>& outermost = outermost_[static_cast<size_t>(id)];
  if (outermost.has_value()) return *outermost;
  return TemplateValue::Undefined(fmt::format("'{}' is undefined", name));
}

Result<TemplateValue> TemplateInterpreter::EvalSequence(const Expr& expr) {
  std::vector<TemplateValue> items;
  items.reserve(expr.items.size());
  for (const ExprPtr& item : expr.items) {
    FT_ASSIGN_OR_RETURN(TemplateValue value, Eval(*item));
    items.push_back(std::move(value));
  }
  return expr.kind == ExprKind::kList ? MakeList(std::move(items)) : MakeTuple(std::move(items));
}

Result<TemplateValue> TemplateInterpreter::EvalDict(const Expr& expr) {
  auto dict = std::make_shared<TemplateDict>();
  for (size_t i = 0; i < expr.items.size(); i += 2) {
    FT_ASSIGN_OR_RETURN(TemplateValue key, Eval(*expr.items[i]));
    FT_ASSIGN_OR_RETURN(TemplateValue value, Eval(*expr.items[i + 1]));
    FT_RETURN_IF_ERROR(SetItem(dict.get(), std::move(key), std::move(value)));
  }
  return MakeDict(std::move(dict));
}

Result<TemplateValue> TemplateInterpreter::EvalSign(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*expr.items[0]));
  if (expr.kind == ExprKind::kNot) return TemplateValue::Bool(!Truthy(value));
  if (expr.kind == ExprKind::kNegate) return Negate(value);
  if (value.is_undefined()) return BadInput("{}", value.why());
  if (!value.is_number()) return BadInput("a value of type {} has no sign", value.TypeName());
  return value.is(Kind::kBool) ? TemplateValue::Int(value.integer()) : value;
}

Result<TemplateValue> TemplateInterpreter::EvalBinary(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue left, Eval(*expr.items[0]));
  FT_ASSIGN_OR_RETURN(const TemplateValue right, Eval(*expr.items[1]));
  return BinaryOperation(*this, expr.op, left, right);
}

Result<TemplateValue> TemplateInterpreter::EvalAndOr(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(TemplateValue left, Eval(*expr.items[0]));
  if (Truthy(left) == (expr.kind == ExprKind::kOr)) return left;
  return Eval(*expr.items[1]);
}

Result<TemplateValue> TemplateInterpreter::EvalConcat(const Expr& expr) {
  TextBuilder text = NewText();
  for (const ExprPtr& item : expr.items) {
    FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*item));
    FT_RETURN_IF_ERROR(AppendStr(*this, value, &text));
  }
  return MakeString(&text);
}

Result<TemplateValue> TemplateInterpreter::EvalCompare(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(TemplateValue left, Eval(*expr.items[0]));
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    FT_ASSIGN_OR_RETURN(TemplateValue right, Eval(*expr.items[i + 1]));
    FT_ASSIGN_OR_RETURN(const bool holds, Compare(*this, expr.ops[i], left, right));
    if (!holds) return TemplateValue::Bool(false);
    left = std::move(right);
  }
  return TemplateValue::Bool(true);
}

Result<TemplateValue> TemplateInterpreter::EvalCondition(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue test, Eval(*expr.items[0]));
  if (Truthy(test)) return Eval(*expr.items[1]);
  if (expr.items[2] != nullptr) return Eval(*expr.items[2]);
  return TemplateValue::Undefined("the inline if was false and has no else");
}

Result<TemplateValue> TemplateInterpreter::EvalSubscript(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue object, Eval(*expr.items[0]));
  if (expr.kind == ExprKind::kAttribute) return GetAttribute(object, expr.name);
  FT_ASSIGN_OR_RETURN(const TemplateValue key, Eval(*expr.items[1]));
  return GetItem(object, key);
}

Result<TemplateValue> TemplateInterpreter::EvalSlice(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue object, Eval(*expr.items[0]));
  TemplateValue bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expr.items[i + 1] == nullptr) continue;
    FT_ASSIGN_OR_RETURN(bounds[i], Eval(*expr.items[i + 1]));
  }
  return GetSlice(object, bounds);
}

Result<CallArguments> TemplateInterpreter::EvalArguments(const CallSyntax& syntax) {
  CallArguments arguments;
  for (const ExprPtr& item : syntax.positional) {
    FT_ASSIGN_OR_RETURN(TemplateValue value, Eval(*item));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, item] : syntax.named) {
    FT_ASSIGN_OR_RETURN(TemplateValue value, Eval(*item));
    arguments.named.emplace_back(name, std::move(value));
  }
  if (syntax.star != nullptr) {
    FT_ASSIGN_OR_RETURN(const TemplateValue list, Eval(*syntax.star));
    FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> items, Collect(list));
    arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
  }
  if (syntax.star_star != nullptr) {
    FT_ASSIGN_OR_RETURN(const TemplateValue dict, Eval(*syntax.star_star));
    if (!dict.is(Kind::kDict))
      return BadInput("the argument after ** has type {}, not dict", dict.TypeName());
    for (const auto& [key, value] : dict.dict().items()) {
      if (!key.is_string())
        return BadInput("keys of the dict after ** must be strings, not {}", key.TypeName());
      for (const auto& [name, unused] : arguments.named) {
        if (name == key.text()) return BadInput("the argument '{}' is given twice", name);
      }
      FT_RETURN_IF_ERROR(Step(1 + static_cast<int64_t>(arguments.named.size()) / 8));
      arguments.named.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

Result<TemplateValue> TemplateInterpreter::EvalCall(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue callee, Eval(*expr.items[0]));
  FT_ASSIGN_OR_RETURN(CallArguments arguments, EvalArguments(*expr.arguments));
  return Call(callee, std::move(arguments));
}

Result<TemplateValue> TemplateInterpreter::EvalFilter(const Expr& expr) {
  TemplateValue value = captured_;
  if (expr.items[0] != nullptr) {
    FT_ASSIGN_OR_RETURN(value, Eval(*expr.items[0]));
  }
  FT_ASSIGN_OR_RETURN(const CallArguments arguments, EvalArguments(*expr.arguments));
  return ApplyFilter(expr.name, value, arguments);
}

Result<TemplateValue> TemplateInterpreter::EvalTest(const Expr& expr) {
  FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*expr.items[0]));
  FT_ASSIGN_OR_RETURN(const CallArguments arguments, EvalArguments(*expr.arguments));
  FT_ASSIGN_OR_RETURN(const bool holds, ApplyTest(expr.name, value, arguments));
  return TemplateValue::Bool(holds);
}

}  // namespace fusiontree::tokenizer
