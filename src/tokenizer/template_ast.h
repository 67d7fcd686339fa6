// A parsed chat template. One node type for expressions and one for statements; which fields a kind uses
// stands beside it. Names are interned: Expr::id indexes TemplateAst::names.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_AST_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_AST_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/template_value.h"

namespace fusiontree::tokenizer {

enum class ExprKind {
  kConst,      // value
  kName,       // name, id
  kTuple,      // items
  kList,       // items
  kDict,       // items: key, value, key, value, ...
  kNegate,     // items[0]
  kPlus,       // items[0]
  kNot,        // items[0]
  kBinary,     // items[0] op items[1]
  kAnd,        // items[0..1]
  kOr,         // items[0..1]
  kConcat,     // items, joined by ~
  kCompare,    // items[0] ops[0] items[1] ops[1] items[2] ...
  kCondition,  // items[1] if items[0] else items[2]; items[2] may be null
  kAttribute,  // items[0].name; as a target of set: name `text` of a namespace called items[0]
  kSubscript,  // items[0][items[1]]
  kSlice,      // items[0][items[1]:items[2]:items[3]]; 1..3 may be null
  kCall,       // items[0](arguments)
  kFilter,     // items[0] | name(arguments); items[0] is null in filter and set blocks
  kTest,       // items[0] is name(arguments)
};

enum class TemplateOp {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kIn,
  kNotIn
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallSyntax {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;       // *args
  ExprPtr star_star;  // **kwargs
};

struct Expr {
  ExprKind kind;
  int line = 0;
  int depth = 1;  // of the tree below, bounded by the parser because evaluation and destruction recurse
  TemplateValue value;
  std::string name;
  int id = -1;
  TemplateOp op = TemplateOp::kAdd;
  std::vector<TemplateOp> ops;
  std::vector<ExprPtr> items;
  std::unique_ptr<CallSyntax> arguments;
};

enum class StmtKind {
  kOutput,       // exprs, printed one after the other
  kIf,           // branches; otherwise
  kFor,          // target in expr [if filter] [recursive]: body; otherwise
  kSet,          // target = expr
  kSetBlock,     // target = body | expr (a kFilter chain, or null)
  kMacro,        // macro
  kCallBlock,    // expr (a kCall) with macro as its caller
  kFilterBlock,  // body | expr
  kWith,         // pairs target = value in exprs: t, v, t, v; body
  kBlock,        // body (template inheritance does not exist here)
  kGeneration,   // body in a scope of its own
  kBreak,
  kContinue,
  kFail,  // text: what is not available, said when the statement runs
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

struct Parameter {
  std::string name;
  int id = -1;
  ExprPtr otherwise;  // null: none
};

struct MacroSyntax {
  std::string name;  // empty for the caller of a call block
  int id = -1;
  std::vector<Parameter> parameters;
  Body body;
  // Whether the body mentions these names without having them as parameters.
  bool uses_caller = false;
  bool uses_kwargs = false;
  bool uses_varargs = false;
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  std::vector<ExprPtr> exprs;
  ExprPtr target;
  ExprPtr expr;
  ExprPtr filter;
  bool recursive = false;
  bool scoped = false;
  Body body;
  Body otherwise;
  std::vector<std::pair<ExprPtr, Body>> branches;
  std::unique_ptr<MacroSyntax> macro;
  std::string text;
};

struct TemplateAst {
  Body body;
  std::vector<std::string> names;
  // Interned ids of the names the interpreter itself binds.
  int loop_id = -1;
  int caller_id = -1;
  int kwargs_id = -1;
  int varargs_id = -1;
};

// Errors: "chat template line 3: ...".
base::Result<std::unique_ptr<TemplateAst>> ParseTemplate(const std::string& source);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_AST_H_
