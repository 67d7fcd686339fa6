// What may follow an operand: attributes, subscripts, calls, filters and tests.
#include <array>

#include "tokenizer/template_parser.h"

namespace fusiontree::tokenizer {

using base::Result;

Result<ExprPtr> TemplateParser::ParsePostfix(ExprPtr node) {
  while (true) {
    if (IsOp(".") || IsOp("[")) {
      FT_ASSIGN_OR_RETURN(node, ParseSubscript(std::move(node)));
    } else if (IsOp("(")) {
      FT_ASSIGN_OR_RETURN(node, ParseCall(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExprPtr> TemplateParser::ParseFilterChain(ExprPtr node) {
  while (true) {
    if (IsOp("|")) {
      FT_ASSIGN_OR_RETURN(node, ParseFilters(std::move(node), false));
    } else if (IsName("is")) {
      FT_ASSIGN_OR_RETURN(node, ParseTest(std::move(node)));
    } else if (IsOp("(")) {
      FT_ASSIGN_OR_RETURN(node, ParseCall(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExprPtr> TemplateParser::ParseSubscript(ExprPtr node) {
  const int line = current().line;
  if (SkipOp(".")) {
    const Token& token = Next();
    ExprPtr expr = Make(token.kind == TokenKind::kName ? ExprKind::kAttribute : ExprKind::kSubscript, line);
    expr->items.push_back(std::move(node));
    if (token.kind == TokenKind::kName) {
      expr->name = token.text;
    } else if (token.kind == TokenKind::kInteger) {
      ExprPtr index = Make(ExprKind::kConst, line);
      index->value = TemplateValue::Int(token.integer);
      expr->items.push_back(std::move(index));
    } else {
      return Error(token.line, "expected a name or a number after '.'");
    }
    return Finish(std::move(expr));
  }
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  Next();  // [
  if (IsOp("]")) {
    ExprPtr expr = Make(ExprKind::kSubscript, line);
    expr->items.push_back(std::move(node));
    expr->items.push_back(Make(ExprKind::kTuple, line));
    Next();
    return Finish(std::move(expr));
  }
  return ParseSubscribed(std::move(node), line);
}

// Inside the brackets: an index, a slice, or indices with commas (a tuple key).
Result<ExprPtr> TemplateParser::ParseSubscribed(ExprPtr node, int line) {
  std::array<ExprPtr, 3> parts;  // start, stop, step
  size_t part = 0;
  while (!IsOp("]") && !IsOp(",")) {
    if (SkipOp(":")) {
      if (++part > 2) return Error(line, "a slice has at most three parts");
      continue;
    }
    if (parts[part] != nullptr) return Error(current().line, "expected ']' after the index");
    FT_ASSIGN_OR_RETURN(parts[part], ParseExpression());
  }
  if (part > 0) {
    FT_RETURN_IF_ERROR(ExpectOp("]"));
    ExprPtr slice = Make(ExprKind::kSlice, line);
    slice->items.push_back(std::move(node));
    for (ExprPtr& bound : parts) slice->items.push_back(std::move(bound));
    return Finish(std::move(slice));
  }
  ExprPtr index = std::move(parts[0]);
  if (IsOp(",")) {
    ExprPtr tuple = Make(ExprKind::kTuple, line);
    if (index == nullptr) return Error(line, "expected an index");
    tuple->items.push_back(std::move(index));
    while (SkipOp(",")) {
      FT_ASSIGN_OR_RETURN(ExprPtr next, ParseExpression());
      tuple->items.push_back(std::move(next));
    }
    FT_ASSIGN_OR_RETURN(index, Finish(std::move(tuple)));
  }
  FT_RETURN_IF_ERROR(ExpectOp("]"));
  ExprPtr expr = Make(ExprKind::kSubscript, line);
  expr->items.push_back(std::move(node));
  expr->items.push_back(std::move(index));
  return Finish(std::move(expr));
}

Result<ExprPtr> TemplateParser::ParseCall(ExprPtr node) {
  ExprPtr call = Make(ExprKind::kCall, current().line);
  call->items.push_back(std::move(node));
  FT_ASSIGN_OR_RETURN(call->arguments, ParseArguments());
  return Finish(std::move(call));
}

Result<std::unique_ptr<CallSyntax>> TemplateParser::ParseArguments() {
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  const int line = Next().line;  // (
  auto call = std::make_unique<CallSyntax>();
  bool first = true;
  while (!IsOp(")")) {
    if (!first) {
      FT_RETURN_IF_ERROR(ExpectOp(","));
      if (IsOp(")")) break;
    }
    first = false;
    bool in_order = call->star_star == nullptr;
    if (SkipOp("*")) {
      in_order = in_order && call->star == nullptr;
      FT_ASSIGN_OR_RETURN(call->star, ParseExpression());
    } else if (SkipOp("**")) {
      FT_ASSIGN_OR_RETURN(call->star_star, ParseExpression());
    } else if (current().kind == TokenKind::kName && ahead().kind == TokenKind::kOperator &&
               ahead().text == "=") {
      const std::string name = Next().text;
      Next();
      FT_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      for (const auto& [earlier, unused] : call->named) {
        if (earlier == name) return Error(line, "the argument '{}' is given twice", name);
      }
      call->named.emplace_back(name, std::move(value));
    } else {
      in_order = in_order && call->star == nullptr && call->named.empty();
      FT_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      call->positional.push_back(std::move(value));
    }
    if (!in_order) return Error(line, "arguments must come as positional, named, *list, **dict");
  }
  Next();
  return call;
}

Result<ExprPtr> TemplateParser::ParseFilters(ExprPtr node, bool first_without_pipe) {
  while (first_without_pipe || SkipOp("|")) {
    first_without_pipe = false;
    ExprPtr filter = Make(ExprKind::kFilter, current().line);
    FT_ASSIGN_OR_RETURN(filter->name, ExpectAnyName());
    while (SkipOp(".")) {
      FT_ASSIGN_OR_RETURN(const std::string part, ExpectAnyName());
      filter->name += "." + part;
    }
    filter->arguments = std::make_unique<CallSyntax>();
    if (IsOp("(")) {
      FT_ASSIGN_OR_RETURN(filter->arguments, ParseArguments());
    }
    filter->items.push_back(std::move(node));
    FT_ASSIGN_OR_RETURN(node, Finish(std::move(filter)));
  }
  return node;
}

Result<ExprPtr> TemplateParser::ParseTest(ExprPtr node) {
  ExprPtr test = Make(ExprKind::kTest, Next().line);
  const bool negated = SkipName("not");
  FT_ASSIGN_OR_RETURN(test->name, ExpectAnyName());
  while (SkipOp(".")) {
    FT_ASSIGN_OR_RETURN(const std::string part, ExpectAnyName());
    test->name += "." + part;
  }
  test->items.push_back(std::move(node));
  test->arguments = std::make_unique<CallSyntax>();
  const TokenKind kind = current().kind;
  const bool operand = kind == TokenKind::kName || kind == TokenKind::kString ||
                       kind == TokenKind::kInteger || kind == TokenKind::kFloat || IsOp("[") || IsOp("{");
  if (IsOp("(")) {
    FT_ASSIGN_OR_RETURN(test->arguments, ParseArguments());
  } else if (operand && !IsName("else") && !IsName("or") && !IsName("and")) {
    if (IsName("is")) return Error(current().line, "tests cannot be chained with 'is'");
    FT_ASSIGN_OR_RETURN(ExprPtr argument, ParsePrimary());
    FT_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    test->arguments->positional.push_back(std::move(argument));
  }
  FT_ASSIGN_OR_RETURN(ExprPtr expr, Finish(std::move(test)));
  if (!negated) return expr;
  ExprPtr inverse = Make(ExprKind::kNot, expr->line);
  inverse->items.push_back(std::move(expr));
  return Finish(std::move(inverse));
}

}  // namespace fusiontree::tokenizer
