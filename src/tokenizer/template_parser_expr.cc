// Expressions of the template language, with Jinja's precedences (~ binds tighter than +, and filters tighter
// than any operator but after a sign).
#include <algorithm>

#include "tokenizer/template_parser.h"

namespace fusiontree::tokenizer {

using base::OkStatus;
using base::Result;
using base::Status;

ExprPtr TemplateParser::Make(ExprKind kind, int line) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  return expr;
}

Result<ExprPtr> TemplateParser::Finish(ExprPtr expr) const {
  int depth = 0;
  const auto see = [&](const ExprPtr& child) {
    if (child != nullptr) depth = std::max(depth, child->depth);
  };
  for (const ExprPtr& child : expr->items) see(child);
  if (expr->arguments != nullptr) {
    for (const ExprPtr& child : expr->arguments->positional) see(child);
    for (const auto& [name, child] : expr->arguments->named) see(child);
    see(expr->arguments->star);
    see(expr->arguments->star_star);
  }
  expr->depth = depth + 1;
  if (expr->depth > kMaxTreeDepth) {
    return Error(expr->line, "the expression is deeper than {} operations", kMaxTreeDepth);
  }
  return expr;
}

Result<ExprPtr> TemplateParser::FinishBinary(TemplateOp op, ExprPtr left, ExprPtr right, int line) const {
  ExprPtr expr = Make(ExprKind::kBinary, line);
  expr->op = op;
  expr->items.push_back(std::move(left));
  expr->items.push_back(std::move(right));
  return Finish(std::move(expr));
}

ExprPtr TemplateParser::NameExpr(const std::string& name, int line, bool load) {
  ExprPtr expr = Make(ExprKind::kName, line);
  expr->name = name;
  expr->id = Intern(name);
  for (MacroSyntax* macro : open_macros_) {
    macro->uses_caller |= load && name == "caller";
    macro->uses_kwargs |= load && name == "kwargs";
    macro->uses_varargs |= load && name == "varargs";
  }
  return expr;
}

Result<ExprPtr> TemplateParser::ParseExpression(bool with_condition) {
  return with_condition ? ParseCondition() : ParseOr();
}

Result<ExprPtr> TemplateParser::ParseCondition() {
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  FT_ASSIGN_OR_RETURN(ExprPtr expr, ParseOr());
  while (IsName("if")) {
    ExprPtr condition = Make(ExprKind::kCondition, Next().line);
    FT_ASSIGN_OR_RETURN(ExprPtr test, ParseOr());
    ExprPtr otherwise;
    if (SkipName("else")) {
      FT_ASSIGN_OR_RETURN(otherwise, ParseCondition());
    }
    condition->items.push_back(std::move(test));
    condition->items.push_back(std::move(expr));
    condition->items.push_back(std::move(otherwise));
    FT_ASSIGN_OR_RETURN(expr, Finish(std::move(condition)));
  }
  return expr;
}

Result<ExprPtr> TemplateParser::ParseOr() {
  FT_ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
  while (IsName("or")) {
    ExprPtr expr = Make(ExprKind::kOr, Next().line);
    FT_ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
    expr->items.push_back(std::move(left));
    expr->items.push_back(std::move(right));
    FT_ASSIGN_OR_RETURN(left, Finish(std::move(expr)));
  }
  return left;
}

Result<ExprPtr> TemplateParser::ParseAnd() {
  FT_ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
  while (IsName("and")) {
    ExprPtr expr = Make(ExprKind::kAnd, Next().line);
    FT_ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
    expr->items.push_back(std::move(left));
    expr->items.push_back(std::move(right));
    FT_ASSIGN_OR_RETURN(left, Finish(std::move(expr)));
  }
  return left;
}

Result<ExprPtr> TemplateParser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  ExprPtr expr = Make(ExprKind::kNot, Next().line);
  FT_ASSIGN_OR_RETURN(ExprPtr operand, ParseNot());
  expr->items.push_back(std::move(operand));
  return Finish(std::move(expr));
}

Result<ExprPtr> TemplateParser::ParseCompare() {
  static constexpr std::pair<std::string_view, TemplateOp> kOps[] = {
      {"==", TemplateOp::kEq}, {"!=", TemplateOp::kNe}, {"<", TemplateOp::kLt},
      {"<=", TemplateOp::kLe}, {">", TemplateOp::kGt},  {">=", TemplateOp::kGe}};
  ExprPtr expr = Make(ExprKind::kCompare, current().line);
  FT_ASSIGN_OR_RETURN(ExprPtr first, ParseSum());
  expr->items.push_back(std::move(first));
  while (true) {
    const auto* op =
        std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& o) { return IsOp(o.first); });
    if (op != std::end(kOps)) {
      Next();
      expr->ops.push_back(op->second);
    } else if (SkipName("in")) {
      expr->ops.push_back(TemplateOp::kIn);
    } else if (IsName("not") && IsName(ahead(), "in")) {
      Next();
      Next();
      expr->ops.push_back(TemplateOp::kNotIn);
    } else {
      break;
    }
    FT_ASSIGN_OR_RETURN(ExprPtr next, ParseSum());
    expr->items.push_back(std::move(next));
  }
  if (expr->ops.empty()) return std::move(expr->items[0]);
  return Finish(std::move(expr));
}

Result<ExprPtr> TemplateParser::ParseSum() {
  FT_ASSIGN_OR_RETURN(ExprPtr left, ParseConcat());
  while (IsOp("+") || IsOp("-")) {
    const TemplateOp op = IsOp("+") ? TemplateOp::kAdd : TemplateOp::kSub;
    const int line = Next().line;
    FT_ASSIGN_OR_RETURN(ExprPtr right, ParseConcat());
    FT_ASSIGN_OR_RETURN(left, FinishBinary(op, std::move(left), std::move(right), line));
  }
  return left;
}

Result<ExprPtr> TemplateParser::ParseConcat() {
  FT_ASSIGN_OR_RETURN(ExprPtr first, ParseProduct());
  if (!IsOp("~")) return first;
  ExprPtr expr = Make(ExprKind::kConcat, current().line);
  expr->items.push_back(std::move(first));
  while (SkipOp("~")) {
    FT_ASSIGN_OR_RETURN(ExprPtr next, ParseProduct());
    expr->items.push_back(std::move(next));
  }
  return Finish(std::move(expr));
}

Result<ExprPtr> TemplateParser::ParseProduct() {
  static constexpr std::pair<std::string_view, TemplateOp> kOps[] = {{"*", TemplateOp::kMul},
                                                                     {"/", TemplateOp::kDiv},
                                                                     {"//", TemplateOp::kFloorDiv},
                                                                     {"%", TemplateOp::kMod}};
  FT_ASSIGN_OR_RETURN(ExprPtr left, ParsePower());
  while (true) {
    const auto* op =
        std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& o) { return IsOp(o.first); });
    if (op == std::end(kOps)) return left;
    const int line = Next().line;
    FT_ASSIGN_OR_RETURN(ExprPtr right, ParsePower());
    FT_ASSIGN_OR_RETURN(left, FinishBinary(op->second, std::move(left), std::move(right), line));
  }
}

Result<ExprPtr> TemplateParser::ParsePower() {
  FT_ASSIGN_OR_RETURN(ExprPtr left, ParseUnary(true));
  while (IsOp("**")) {
    const int line = Next().line;
    FT_ASSIGN_OR_RETURN(ExprPtr right, ParseUnary(true));
    FT_ASSIGN_OR_RETURN(left, FinishBinary(TemplateOp::kPow, std::move(left), std::move(right), line));
  }
  return left;
}

Result<ExprPtr> TemplateParser::ParseUnary(bool with_filter) {
  ExprPtr node;
  if (IsOp("-") || IsOp("+")) {
    const Nesting nesting(&nesting_);
    FT_RETURN_IF_ERROR(CheckNesting());
    ExprPtr sign = Make(IsOp("-") ? ExprKind::kNegate : ExprKind::kPlus, current().line);
    Next();
    FT_ASSIGN_OR_RETURN(ExprPtr operand, ParseUnary(false));
    sign->items.push_back(std::move(operand));
    FT_ASSIGN_OR_RETURN(node, Finish(std::move(sign)));
  } else {
    FT_ASSIGN_OR_RETURN(node, ParsePrimary());
  }
  FT_ASSIGN_OR_RETURN(node, ParsePostfix(std::move(node)));
  if (with_filter) return ParseFilterChain(std::move(node));
  return node;
}

Result<ExprPtr> TemplateParser::ParsePrimary() {
  const Token& token = current();
  ExprPtr node = Make(ExprKind::kConst, token.line);
  switch (token.kind) {
    case TokenKind::kName:
      Next();
      if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
        node->value = TemplateValue::Bool(token.text == "true" || token.text == "True");
      } else if (token.text != "none" && token.text != "None") {
        return NameExpr(token.text, token.line, true);
      }
      return node;
    case TokenKind::kString: {
      std::string text;
      while (current().kind == TokenKind::kString) text += Next().text;
      node->value = TemplateValue::String(std::move(text));
      return node;
    }
    case TokenKind::kInteger:
      node->value = TemplateValue::Int(Next().integer);
      return node;
    case TokenKind::kFloat:
      node->value = TemplateValue::Float(Next().real);
      return node;
    default:
      break;
  }
  if (IsOp("[")) return ParseListLiteral();
  if (IsOp("{")) return ParseDictLiteral();
  if (SkipOp("(")) {
    const Nesting nesting(&nesting_);
    FT_RETURN_IF_ERROR(CheckNesting());
    FT_ASSIGN_OR_RETURN(node, ParseTuple(false, true, true));
    FT_RETURN_IF_ERROR(ExpectOp(")"));
    return node;
  }
  return Error(token.line, "expected an expression, found {}",
               token.text.empty() ? "the end of the tag" : "'" + token.text + "'");
}

Result<ExprPtr> TemplateParser::ParseTuple(bool targets, bool with_condition, bool in_parentheses) {
  ExprPtr tuple = Make(ExprKind::kTuple, current().line);
  bool is_tuple = false;
  while (true) {
    if (!tuple->items.empty()) FT_RETURN_IF_ERROR(ExpectOp(","));
    if (current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd || IsOp(")")) {
      break;
    }
    FT_ASSIGN_OR_RETURN(ExprPtr item, targets ? ParsePrimary() : ParseExpression(with_condition));
    tuple->items.push_back(std::move(item));
    if (!IsOp(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !tuple->items.empty()) return std::move(tuple->items[0]);
  if (!is_tuple && !in_parentheses) return Error(tuple->line, "expected an expression");
  return Finish(std::move(tuple));
}

Result<ExprPtr> TemplateParser::ParseTarget() {
  // Names in a target are stored to, but ParsePrimary counts them as read, which concerns only caller, kwargs
  // and varargs: hide the open macros meanwhile.
  std::vector<MacroSyntax*> open;
  open.swap(open_macros_);
  Result<ExprPtr> target = ParseTuple(true, false, false);
  open.swap(open_macros_);
  if (!target.ok()) return target;
  FT_RETURN_IF_ERROR(CheckTarget(**target));
  return target;
}

Status TemplateParser::CheckTarget(const Expr& target) const {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& item : target.items) FT_RETURN_IF_ERROR(CheckTarget(*item));
    return OkStatus();
  }
  if (target.kind != ExprKind::kName) return Error(target.line, "only names can be assigned to");
  if (target.name == "loop" && loops_ > 0) return Error(target.line, "'loop' belongs to the for statement");
  for (const char* word : {"true", "True", "false", "False", "none", "None"}) {
    if (target.name == word) return Error(target.line, "'{}' is a constant and cannot be assigned to", word);
  }
  return OkStatus();
}

Result<ExprPtr> TemplateParser::ParseListLiteral() {
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  ExprPtr list = Make(ExprKind::kList, Next().line);
  while (!IsOp("]")) {
    if (!list->items.empty()) {
      FT_RETURN_IF_ERROR(ExpectOp(","));
      if (IsOp("]")) break;
    }
    FT_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression());
    list->items.push_back(std::move(item));
  }
  Next();
  return Finish(std::move(list));
}

Result<ExprPtr> TemplateParser::ParseDictLiteral() {
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  ExprPtr dict = Make(ExprKind::kDict, Next().line);
  while (!IsOp("}")) {
    if (!dict->items.empty()) {
      FT_RETURN_IF_ERROR(ExpectOp(","));
      if (IsOp("}")) break;
    }
    FT_ASSIGN_OR_RETURN(ExprPtr key, ParseExpression());
    FT_RETURN_IF_ERROR(ExpectOp(":"));
    FT_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    dict->items.push_back(std::move(key));
    dict->items.push_back(std::move(value));
  }
  Next();
  return Finish(std::move(dict));
}

}  // namespace fusiontree::tokenizer
