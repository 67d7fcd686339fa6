// Recursive descent over a template's tokens, rule for rule Jinja's own parser. Expressions are in
// template_parser_expr.cc, statements in template_parser.cc.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_PARSER_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_PARSER_H_

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/template_ast.h"
#include "tokenizer/template_lexer.h"

namespace fusiontree::tokenizer {

class TemplateParser {
 public:
  explicit TemplateParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  base::Result<std::unique_ptr<TemplateAst>> Parse();

 private:
  // A tree deeper than this, or brackets and blocks nested so, is refused: evaluation recurses over the tree
  // and the parser over the nesting. Jinja itself ends near 80 brackets (Python's recursion limit).
  static constexpr int kMaxTreeDepth = 400;
  static constexpr int kMaxNesting = 120;
  using EndTags = std::initializer_list<std::string_view>;

  struct Nesting {
    explicit Nesting(int* depth) : depth_(depth) { ++*depth_; }
    ~Nesting() { --*depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    int* depth_;
  };

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& Next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool IsOp(std::string_view op) const {
    return current().kind == TokenKind::kOperator && current().text == op;
  }
  bool IsName(std::string_view name) const { return IsName(current(), name); }
  static bool IsName(const Token& token, std::string_view name) {
    return token.kind == TokenKind::kName && token.text == name;
  }
  bool SkipOp(std::string_view op);
  bool SkipName(std::string_view name);
  base::Status ExpectOp(std::string_view op);
  base::Status ExpectName(std::string_view name);
  base::Result<std::string> ExpectAnyName();
  base::Status ExpectKind(TokenKind kind);
  template <typename... Args>
  base::Status Error(int line, fmt::format_string<Args...> format, Args&&... args) const {
    return base::BadInput("chat template line {}: {}", line,
                          fmt::format(format, std::forward<Args>(args)...));
  }
  base::Status CheckNesting() const;
  int Intern(const std::string& name);

  static ExprPtr Make(ExprKind kind, int line);
  // Sets the depth; call it once the children are in place.
  base::Result<ExprPtr> Finish(ExprPtr expr) const;
  base::Result<ExprPtr> FinishBinary(TemplateOp op, ExprPtr left, ExprPtr right, int line) const;
  ExprPtr NameExpr(const std::string& name, int line, bool load);

  // Expressions, loosest binding first.
  base::Result<ExprPtr> ParseExpression(bool with_condition = true);
  base::Result<ExprPtr> ParseCondition();
  base::Result<ExprPtr> ParseOr();
  base::Result<ExprPtr> ParseAnd();
  base::Result<ExprPtr> ParseNot();
  base::Result<ExprPtr> ParseCompare();
  base::Result<ExprPtr> ParseSum();
  base::Result<ExprPtr> ParseConcat();
  base::Result<ExprPtr> ParseProduct();
  base::Result<ExprPtr> ParsePower();
  base::Result<ExprPtr> ParseUnary(bool with_filter);
  base::Result<ExprPtr> ParsePrimary();
  base::Result<ExprPtr> ParsePostfix(ExprPtr node);
  base::Result<ExprPtr> ParseFilterChain(ExprPtr node);
  base::Result<ExprPtr> ParseFilters(ExprPtr node, bool first_without_pipe);
  base::Result<ExprPtr> ParseTest(ExprPtr node);
  base::Result<ExprPtr> ParseSubscript(ExprPtr node);
  base::Result<ExprPtr> ParseSubscribed(ExprPtr node, int line);
  base::Result<ExprPtr> ParseCall(ExprPtr node);
  base::Result<std::unique_ptr<CallSyntax>> ParseArguments();
  base::Result<ExprPtr> ParseListLiteral();
  base::Result<ExprPtr> ParseDictLiteral();
  // A single expression, or a tuple when there are commas. `targets`: only names and literals.
  base::Result<ExprPtr> ParseTuple(bool targets, bool with_condition, bool in_parentheses);

  base::Result<ExprPtr> ParseTarget();
  base::Status CheckTarget(const Expr& target) const;

  base::Result<Body> ParseBody(EndTags ends, bool take_end);
  base::Result<Body> ParseUntil(EndTags ends);
  base::Result<StmtPtr> ParseStatement();
  base::Result<StmtPtr> ParseIf();
  base::Result<StmtPtr> ParseFor();
  base::Result<StmtPtr> ParseSet();
  base::Result<StmtPtr> ParseMacro();
  base::Result<StmtPtr> ParseCallBlock();
  base::Result<StmtPtr> ParseFilterBlock();
  base::Result<StmtPtr> ParseWith();
  base::Result<StmtPtr> ParseBlock();
  base::Result<StmtPtr> ParseGeneration();
  base::Result<StmtPtr> ParsePrint();
  base::Result<StmtPtr> ParseLoopControl();
  base::Result<StmtPtr> ParseUnavailable();
  base::Status ParseSignature(MacroSyntax* macro);
  base::Status ParseMacroBody(MacroSyntax* macro, std::string_view end_tag);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;  // for bodies around the current statement, within the current macro
  std::unordered_map<std::string, int> ids_;
  std::unique_ptr<TemplateAst> ast_ = std::make_unique<TemplateAst>();
  std::vector<MacroSyntax*> open_macros_;  // whose bodies are being parsed
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_PARSER_H_
