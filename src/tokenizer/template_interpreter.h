// Walks a template's tree. Everything a template can make goes through here, so that steps, bytes and depth
// are counted in one place. Statements are in template_interpreter.cc, expressions in template_eval.cc,
// attributes and calls in template_access.cc, loops and iteration in template_loop.cc.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_INTERPRETER_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_INTERPRETER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/template_ast.h"
#include "tokenizer/template_objects.h"
#include "tokenizer/template_text.h"
#include "tokenizer/template_value.h"

namespace fusiontree::tokenizer {

class TemplateInterpreter {
 public:
  TemplateInterpreter(const TemplateAst& ast, const TemplateLimits& limits);
  ~TemplateInterpreter();
  TemplateInterpreter(const TemplateInterpreter&) = delete;
  TemplateInterpreter& operator=(const TemplateInterpreter&) = delete;

  base::Result<TemplateString> Run(const TemplateValue& globals);  // once

  // What filters, tests, methods and operators build on.
  const TemplateLimits& limits() const { return limits_; }
  TemplateBudget* budget() { return &budget_; }
  base::Status Step(int64_t n = 1);
  base::Status SpendBytes(int64_t n);
  TextBuilder NewText() const { return TextBuilder(limits_.value_bytes); }
  base::Result<TemplateValue> MakeString(TextBuilder* text);
  base::Result<TemplateValue> MakeString(TemplateString text);
  base::Result<TemplateValue> MakeString(std::string text) {
    return MakeString(TemplateString{std::move(text), {}, false});
  }
  base::Result<TemplateValue> MakeList(std::vector<TemplateValue> items);
  base::Result<TemplateValue> MakeTuple(std::vector<TemplateValue> items);
  base::Result<TemplateValue> MakeDict(std::shared_ptr<TemplateDict> dict);
  base::Status SetItem(TemplateDict* dict, TemplateValue key, TemplateValue value);
  // A lazy sequence over `source`, whose own nesting counts.
  base::Result<TemplateValue> MakeGenerator(IteratorPtr iterator, const TemplateValue& source);
  // Objects that can hold each other; cleared when the render ends.
  base::Status Register(std::shared_ptr<TemplateObject> object);

  base::Result<IteratorPtr> Iterate(const TemplateValue& value);
  base::Result<std::vector<TemplateValue>> Collect(const TemplateValue& value);  // list(value)
  base::Result<TemplateValue> GetAttribute(const TemplateValue& object, const std::string& name);
  base::Result<TemplateValue> GetItem(const TemplateValue& object, const TemplateValue& key);
  base::Result<TemplateValue> GetSlice(const TemplateValue& object, const TemplateValue (&bounds)[3]);
  base::Result<TemplateValue> Call(const TemplateValue& callee, CallArguments arguments);
  base::Result<TemplateValue> ApplyFilter(const std::string& name, const TemplateValue& value,
                                          const CallArguments& arguments);
  base::Result<bool> ApplyTest(const std::string& name, const TemplateValue& value,
                               const CallArguments& arguments);
  // The condition of a filtered loop with `item` bound to its target.
  base::Result<bool> PassesLoopFilter(const Stmt& loop, const ScopePtr& scope, const TemplateValue& item);
  base::Result<TemplateValue> CallLoop(LoopObject* loop, const TemplateValue& iterable);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  base::Result<Flow> Execute(const Body& body);
  base::Result<Flow> ExecuteStatement(const Stmt& stmt);
  base::Result<Flow> ExecuteNode(const Stmt& stmt);
  base::Result<Flow> ExecuteIf(const Stmt& stmt);
  base::Result<Flow> ExecuteWith(const Stmt& stmt);
  base::Result<Flow> ExecuteCaptured(const Stmt& stmt);  // set and filter blocks
  base::Status ExecuteOutput(const Stmt& stmt);
  base::Status ExecuteCallBlock(const Stmt& stmt);
  base::Result<Flow> ExecuteIn(ScopePtr scope, const Body& body);
  base::Result<Flow> RunLoop(const Stmt& stmt, const TemplateValue& iterable, int64_t depth0);
  base::Result<bool> RunIterations(const Stmt& stmt, LoopObject* loop, const TemplateValue& loop_value);
  base::Status Assign(const Expr& target, const TemplateValue& value);
  base::Status AssignAttribute(const Expr& target, const TemplateValue& value);
  base::Status Unpack(const Expr& target, const TemplateValue& value);

  base::Result<TemplateValue> Eval(const Expr& expr);
  base::Result<TemplateValue> EvalNode(const Expr& expr);
  base::Result<TemplateValue> EvalSequence(const Expr& expr);
  base::Result<TemplateValue> EvalDict(const Expr& expr);
  base::Result<TemplateValue> EvalSign(const Expr& expr);
  base::Result<TemplateValue> EvalBinary(const Expr& expr);
  base::Result<TemplateValue> EvalAndOr(const Expr& expr);
  base::Result<TemplateValue> EvalConcat(const Expr& expr);
  base::Result<TemplateValue> EvalCompare(const Expr& expr);
  base::Result<TemplateValue> EvalCondition(const Expr& expr);
  base::Result<TemplateValue> EvalSubscript(const Expr& expr);
  base::Result<TemplateValue> EvalSlice(const Expr& expr);
  base::Result<TemplateValue> EvalCall(const Expr& expr);
  base::Result<TemplateValue> EvalFilter(const Expr& expr);
  base::Result<TemplateValue> EvalTest(const Expr& expr);
  base::Result<CallArguments> EvalArguments(const CallSyntax& syntax);
  base::Result<TemplateValue> Lookup(int id, const std::string& name);
  void SetVariable(int id, TemplateValue value);
  base::Result<TemplateValue> CallMacro(const MacroObject& macro, CallArguments arguments);
  base::Status BindMacro(const MacroObject& macro, CallArguments* arguments, TemplateScope* scope,
                         std::vector<const Parameter*>* missing);

  // The first place an error passes names its line.
  base::Status Locate(const base::Status& error, int line);

  const TemplateAst& ast_;
  const TemplateLimits limits_;
  TemplateBudget budget_;
  int depth_ = 0;
  bool located_ = false;
  std::vector<std::optional<TemplateValue>> outermost_;  // by name id: globals, then what the template sets
  ScopePtr scope_;                                       // null: outermost
  TextBuilder* out_ = nullptr;
  TemplateValue captured_;  // what the filters of a set or filter block start from
  std::vector<std::shared_ptr<TemplateObject>> registered_;
};

// Python's builtins and Transformers' additions; null when there is none of that name.
FunctionObject::Function FindFunction(std::string_view name);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_INTERPRETER_H_
