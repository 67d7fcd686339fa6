// Statements of the template language.
#include "tokenizer/template_parser.h"

#include <algorithm>

#include "tokenizer/template_text.h"

namespace fusiontree::tokenizer {

using base::OkStatus;
using base::Result;
using base::Status;

namespace {

StmtPtr MakeStmt(StmtKind kind, int line) {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->line = line;
  return stmt;
}

const char* Describe(TokenKind kind) {
  switch (kind) {
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kEnd:
      return "the end of the template";
    default:
      return "something else";
  }
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kName:
    case TokenKind::kOperator:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return "'" + token.text + "'";
    case TokenKind::kString:
      return "a string";
    default:
      return Describe(token.kind);
  }
}

}  // namespace

bool TemplateParser::SkipOp(std::string_view op) {
  if (!IsOp(op)) return false;
  Next();
  return true;
}
bool TemplateParser::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  Next();
  return true;
}
Status TemplateParser::ExpectOp(std::string_view op) {
  if (SkipOp(op)) return OkStatus();
  return Error(current().line, "expected '{}', found {}", op, Describe(current()));
}
Status TemplateParser::ExpectName(std::string_view name) {
  if (SkipName(name)) return OkStatus();
  return Error(current().line, "expected '{}', found {}", name, Describe(current()));
}
Result<std::string> TemplateParser::ExpectAnyName() {
  if (current().kind == TokenKind::kName) return Next().text;
  return Error(current().line, "expected a name, found {}", Describe(current()));
}
Status TemplateParser::ExpectKind(TokenKind kind) {
  if (current().kind == kind) {
    Next();
    return OkStatus();
  }
  return Error(current().line, "expected {}, found {}", Describe(kind), Describe(current()));
}
Status TemplateParser::CheckNesting() const {
  if (nesting_ <= kMaxNesting) return OkStatus();
  return Error(current().line, "brackets or blocks are nested deeper than {} levels", kMaxNesting);
}

int TemplateParser::Intern(const std::string& name) {
  const auto [entry, added] = ids_.emplace(name, static_cast<int>(ast_->names.size()));
  if (added) ast_->names.push_back(name);
  return entry->second;
}

Result<std::unique_ptr<TemplateAst>> TemplateParser::Parse() {
  ast_->loop_id = Intern("loop");
  ast_->caller_id = Intern("caller");
  ast_->kwargs_id = Intern("kwargs");
  ast_->varargs_id = Intern("varargs");
  FT_ASSIGN_OR_RETURN(ast_->body, ParseUntil({}));
  return std::move(ast_);
}

Result<Body> TemplateParser::ParseUntil(EndTags ends) {
  const Nesting nesting(&nesting_);
  FT_RETURN_IF_ERROR(CheckNesting());
  Body body;
  const auto output = [&](ExprPtr expr, int line) {
    if (body.empty() || body.back()->kind != StmtKind::kOutput)
      body.push_back(MakeStmt(StmtKind::kOutput, line));
    body.back()->exprs.push_back(std::move(expr));
  };
  while (current().kind != TokenKind::kEnd) {
    const Token& token = current();
    if (token.kind == TokenKind::kData) {
      ExprPtr text = Make(ExprKind::kConst, token.line);
      text->value = TemplateValue::String(Next().text);
      output(std::move(text), token.line);
    } else if (token.kind == TokenKind::kVariableBegin) {
      const int line = Next().line;
      FT_ASSIGN_OR_RETURN(ExprPtr expr, ParseTuple(false, true, false));
      FT_RETURN_IF_ERROR(ExpectKind(TokenKind::kVariableEnd));
      output(std::move(expr), line);
    } else {
      Next();  // {%
      if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return IsName(end); }))
        return body;
      FT_ASSIGN_OR_RETURN(StmtPtr statement, ParseStatement());
      body.push_back(std::move(statement));
      FT_RETURN_IF_ERROR(ExpectKind(TokenKind::kBlockEnd));
    }
  }
  return body;
}

// After the head of a block statement: "%}", the body, and "{%" with the end tag's name current or taken.
Result<Body> TemplateParser::ParseBody(EndTags ends, bool take_end) {
  SkipOp(":");
  const int line = current().line;
  FT_RETURN_IF_ERROR(ExpectKind(TokenKind::kBlockEnd));
  FT_ASSIGN_OR_RETURN(Body body, ParseUntil(ends));
  if (current().kind == TokenKind::kEnd) {
    return Error(line, "the block that starts here has no '{}'", *(ends.end() - 1));
  }
  if (take_end) Next();
  return body;
}

Result<StmtPtr> TemplateParser::ParseStatement() {
  const Token& token = current();
  if (token.kind != TokenKind::kName)
    return Error(token.line, "expected a tag name, found {}", Describe(token));
  using Rule = Result<StmtPtr> (TemplateParser::*)();
  static const std::unordered_map<std::string_view, Rule> kStatements = {
      {"if", &TemplateParser::ParseIf},
      {"for", &TemplateParser::ParseFor},
      {"set", &TemplateParser::ParseSet},
      {"macro", &TemplateParser::ParseMacro},
      {"call", &TemplateParser::ParseCallBlock},
      {"filter", &TemplateParser::ParseFilterBlock},
      {"with", &TemplateParser::ParseWith},
      {"block", &TemplateParser::ParseBlock},
      {"generation", &TemplateParser::ParseGeneration},
      {"print", &TemplateParser::ParsePrint},
      {"break", &TemplateParser::ParseLoopControl},
      {"continue", &TemplateParser::ParseLoopControl},
      {"include", &TemplateParser::ParseUnavailable},
      {"import", &TemplateParser::ParseUnavailable},
      {"from", &TemplateParser::ParseUnavailable},
      {"extends", &TemplateParser::ParseUnavailable},
  };
  const auto found = kStatements.find(token.text);
  if (found == kStatements.end()) return Error(token.line, "unknown tag '{}'", token.text);
  return (this->*found->second)();
}

Result<StmtPtr> TemplateParser::ParseIf() {
  StmtPtr stmt = MakeStmt(StmtKind::kIf, Next().line);
  while (true) {
    FT_ASSIGN_OR_RETURN(ExprPtr test, ParseTuple(false, false, false));
    FT_ASSIGN_OR_RETURN(Body body, ParseBody({"elif", "else", "endif"}, false));
    stmt->branches.emplace_back(std::move(test), std::move(body));
    const std::string& end = Next().text;
    if (end == "elif") continue;
    if (end == "else") {
      FT_ASSIGN_OR_RETURN(stmt->otherwise, ParseBody({"endif"}, true));
    }
    return stmt;
  }
}

Result<StmtPtr> TemplateParser::ParseFor() {
  StmtPtr stmt = MakeStmt(StmtKind::kFor, Next().line);
  ++loops_;
  FT_ASSIGN_OR_RETURN(stmt->target, ParseTarget());
  FT_RETURN_IF_ERROR(ExpectName("in"));
  FT_ASSIGN_OR_RETURN(stmt->expr, ParseTuple(false, false, false));
  if (SkipName("if")) {
    FT_ASSIGN_OR_RETURN(stmt->filter, ParseExpression());
  }
  stmt->recursive = SkipName("recursive");
  FT_ASSIGN_OR_RETURN(stmt->body, ParseBody({"else", "endfor"}, false));
  --loops_;
  if (Next().text == "else") {
    FT_ASSIGN_OR_RETURN(stmt->otherwise, ParseBody({"endfor"}, true));
  }
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseSet() {
  StmtPtr stmt = MakeStmt(StmtKind::kSet, Next().line);
  if (ahead().kind == TokenKind::kOperator && ahead().text == ".") {
    const int line = current().line;
    FT_ASSIGN_OR_RETURN(const std::string space, ExpectAnyName());
    Next();
    FT_ASSIGN_OR_RETURN(const std::string attribute, ExpectAnyName());
    ExprPtr target = Make(ExprKind::kAttribute, line);
    target->name = attribute;
    target->items.push_back(NameExpr(space, line, true));
    stmt->target = std::move(target);
  } else {
    FT_ASSIGN_OR_RETURN(stmt->target, ParseTarget());
  }
  if (SkipOp("=")) {
    FT_ASSIGN_OR_RETURN(stmt->expr, ParseTuple(false, true, false));
    return stmt;
  }
  stmt->kind = StmtKind::kSetBlock;
  if (IsOp("|")) {
    FT_ASSIGN_OR_RETURN(stmt->expr, ParseFilters(nullptr, false));
  }
  FT_ASSIGN_OR_RETURN(stmt->body, ParseBody({"endset"}, true));
  return stmt;
}

Status TemplateParser::ParseSignature(MacroSyntax* macro) {
  FT_RETURN_IF_ERROR(ExpectOp("("));
  while (!IsOp(")")) {
    if (!macro->parameters.empty()) FT_RETURN_IF_ERROR(ExpectOp(","));
    const int line = current().line;
    Parameter parameter;
    FT_ASSIGN_OR_RETURN(parameter.name, ExpectAnyName());
    FT_RETURN_IF_ERROR(CheckTarget(*NameExpr(parameter.name, line, false)));
    parameter.id = Intern(parameter.name);
    if (SkipOp("=")) {
      FT_ASSIGN_OR_RETURN(parameter.otherwise, ParseExpression());
    } else if (!macro->parameters.empty() && macro->parameters.back().otherwise != nullptr) {
      return Error(line, "parameter '{}' has no default but follows one that has", parameter.name);
    }
    for (const Parameter& earlier : macro->parameters) {
      if (earlier.name == parameter.name) return Error(line, "parameter '{}' appears twice", parameter.name);
    }
    macro->parameters.push_back(std::move(parameter));
  }
  return ExpectOp(")");
}

Status TemplateParser::ParseMacroBody(MacroSyntax* macro, std::string_view end_tag) {
  const int outer_loops = std::exchange(loops_, 0);
  open_macros_.push_back(macro);
  FT_ASSIGN_OR_RETURN(macro->body, ParseBody({end_tag}, true));
  open_macros_.pop_back();
  loops_ = outer_loops;
  for (const Parameter& parameter : macro->parameters) {
    if (parameter.name == "caller") macro->uses_caller = false;
    if (parameter.name == "kwargs") macro->uses_kwargs = false;
    if (parameter.name == "varargs") macro->uses_varargs = false;
  }
  return OkStatus();
}

Result<StmtPtr> TemplateParser::ParseMacro() {
  StmtPtr stmt = MakeStmt(StmtKind::kMacro, Next().line);
  stmt->macro = std::make_unique<MacroSyntax>();
  FT_ASSIGN_OR_RETURN(stmt->macro->name, ExpectAnyName());
  FT_RETURN_IF_ERROR(CheckTarget(*NameExpr(stmt->macro->name, stmt->line, false)));
  stmt->macro->id = Intern(stmt->macro->name);
  FT_RETURN_IF_ERROR(ParseSignature(stmt->macro.get()));
  FT_RETURN_IF_ERROR(ParseMacroBody(stmt->macro.get(), "endmacro"));
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseCallBlock() {
  StmtPtr stmt = MakeStmt(StmtKind::kCallBlock, Next().line);
  stmt->macro = std::make_unique<MacroSyntax>();
  if (IsOp("(")) FT_RETURN_IF_ERROR(ParseSignature(stmt->macro.get()));
  FT_ASSIGN_OR_RETURN(stmt->expr, ParseExpression());
  if (stmt->expr->kind != ExprKind::kCall) return Error(stmt->line, "a call block must call something");
  FT_RETURN_IF_ERROR(ParseMacroBody(stmt->macro.get(), "endcall"));
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseFilterBlock() {
  StmtPtr stmt = MakeStmt(StmtKind::kFilterBlock, Next().line);
  FT_ASSIGN_OR_RETURN(stmt->expr, ParseFilters(nullptr, true));
  FT_ASSIGN_OR_RETURN(stmt->body, ParseBody({"endfilter"}, true));
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseWith() {
  StmtPtr stmt = MakeStmt(StmtKind::kWith, Next().line);
  while (current().kind != TokenKind::kBlockEnd && !IsOp(":")) {
    if (!stmt->exprs.empty()) FT_RETURN_IF_ERROR(ExpectOp(","));
    FT_ASSIGN_OR_RETURN(ExprPtr target, ParseTarget());
    FT_RETURN_IF_ERROR(ExpectOp("="));
    FT_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    stmt->exprs.push_back(std::move(target));
    stmt->exprs.push_back(std::move(value));
  }
  FT_ASSIGN_OR_RETURN(stmt->body, ParseBody({"endwith"}, true));
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseBlock() {
  StmtPtr stmt = MakeStmt(StmtKind::kBlock, Next().line);
  FT_ASSIGN_OR_RETURN(const std::string name, ExpectAnyName());
  stmt->scoped = SkipName("scoped");
  SkipName("required");
  const int outer_loops = std::exchange(loops_, 0);
  FT_ASSIGN_OR_RETURN(stmt->body, ParseBody({"endblock"}, true));
  loops_ = outer_loops;
  SkipName(name);
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseGeneration() {
  StmtPtr stmt = MakeStmt(StmtKind::kGeneration, Next().line);
  const int outer_loops = std::exchange(loops_, 0);
  FT_ASSIGN_OR_RETURN(stmt->body, ParseBody({"endgeneration"}, true));
  loops_ = outer_loops;
  return stmt;
}

Result<StmtPtr> TemplateParser::ParsePrint() {
  StmtPtr stmt = MakeStmt(StmtKind::kOutput, Next().line);
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt->exprs.empty()) FT_RETURN_IF_ERROR(ExpectOp(","));
    FT_ASSIGN_OR_RETURN(ExprPtr expr, ParseExpression());
    stmt->exprs.push_back(std::move(expr));
  }
  return stmt;
}

Result<StmtPtr> TemplateParser::ParseLoopControl() {
  const Token& token = Next();
  if (loops_ == 0) return Error(token.line, "'{}' outside of a loop", token.text);
  return MakeStmt(token.text == "break" ? StmtKind::kBreak : StmtKind::kContinue, token.line);
}

// Other templates do not exist here. As in Jinja without a loader, that is an error when the statement runs.
Result<StmtPtr> TemplateParser::ParseUnavailable() {
  const Token& token = Next();
  StmtPtr stmt = MakeStmt(StmtKind::kFail, token.line);
  stmt->text = fmt::format("'{}' needs other templates, and a chat template has none", token.text);
  while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) Next();
  return stmt;
}

Result<std::unique_ptr<TemplateAst>> ParseTemplate(const std::string& source) {
  // Templates of published models are below 100 KiB.
  constexpr size_t kMaxSource = 4 << 20;
  if (source.size() > kMaxSource) {
    return base::BadInput("the chat template has {} bytes, more than the {} that are accepted", source.size(),
                          kMaxSource);
  }
  if (const size_t bad = FindInvalidUtf8(source); bad != std::string::npos) {
    return base::BadInput("the chat template is not valid UTF-8 at byte {}", bad);
  }
  FT_ASSIGN_OR_RETURN(std::vector<Token> tokens, LexTemplate(source));
  return TemplateParser(std::move(tokens)).Parse();
}

}  // namespace fusiontree::tokenizer
