#include "tokenizer/template_interpreter.h"

#include <algorithm>
#include <utility>

#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;

TemplateInterpreter::TemplateInterpreter(const TemplateAst& ast, const TemplateLimits& limits)
    : ast_(ast), limits_(limits), budget_{limits.steps, limits.total_bytes}, outermost_(ast.names.size()) {}

TemplateInterpreter::~TemplateInterpreter() {
  for (const auto& object : registered_) object->Clear();
}

Result<TemplateString> TemplateInterpreter::Run(const TemplateValue& globals) {
  if (!globals.is(TemplateValue::Kind::kDict)) {
    return BadInput("a chat template renders a dict of variables, not a value of type {}",
                    globals.TypeName());
  }
  for (size_t id = 0; id < ast_.names.size(); ++id) {
    const std::string& name = ast_.names[id];
    if (const TemplateValue* given = globals.dict().Find(name)) {
      outermost_[id] = given->DeepCopy();
    } else if (const auto function = FindFunction(name)) {
      outermost_[id] = TemplateValue::Object(std::make_shared<FunctionObject>(name, function));
    }
  }
  TextBuilder out(limits_.output_bytes);
  out_ = &out;
  const Result<Flow> flow = Execute(ast_.body);
  if (!flow.ok()) return flow.status();
  return out.Take();
}

Status TemplateInterpreter::Step(int64_t n) {
  if (budget_.Spend(n)) return OkStatus();
  return BadInput("the template does more than the {} steps it may take", limits_.steps);
}

Status TemplateInterpreter::SpendBytes(int64_t n) {
  FT_RETURN_IF_ERROR(Step(n / 64));
  if ((budget_.bytes -= n) >= 0) return OkStatus();
  return BadInput("the template builds more than the {} bytes of values it may build", limits_.total_bytes);
}

Result<TemplateValue> TemplateInterpreter::MakeString(TextBuilder* text) {
  if (text->full()) {
    return BadInput("the template builds a text of more than the {} bytes it may have", limits_.value_bytes);
  }
  return MakeString(text->Take());
}

Result<TemplateValue> TemplateInterpreter::MakeString(TemplateString text) {
  if (text.text.size() > limits_.value_bytes) {
    return BadInput("the template builds a text of {} bytes, more than the {} it may have", text.text.size(),
                    limits_.value_bytes);
  }
  constexpr int64_t kOverhead = 64;  // of an allocated TemplateString
  FT_RETURN_IF_ERROR(
      SpendBytes(kOverhead + static_cast<int64_t>(text.text.size() + sizeof(Span) * text.data.size())));
  return TemplateValue::String(std::move(text));
}

Result<TemplateValue> TemplateInterpreter::MakeList(std::vector<TemplateValue> items) {
  FT_RETURN_IF_ERROR(SpendBytes(static_cast<int64_t>(sizeof(TemplateValue) * items.size()) + 64));
  TemplateValue list = TemplateValue::List(std::move(items));
  if (list.depth() > kMaxTemplateValueDepth) {
    return BadInput("the template nests values deeper than {} levels", kMaxTemplateValueDepth);
  }
  return list;
}

Result<TemplateValue> TemplateInterpreter::MakeTuple(std::vector<TemplateValue> items) {
  FT_RETURN_IF_ERROR(SpendBytes(static_cast<int64_t>(sizeof(TemplateValue) * items.size()) + 64));
  TemplateValue tuple = TemplateValue::Tuple(std::move(items));
  if (tuple.depth() > kMaxTemplateValueDepth) {
    return BadInput("the template nests values deeper than {} levels", kMaxTemplateValueDepth);
  }
  return tuple;
}

Result<TemplateValue> TemplateInterpreter::MakeDict(std::shared_ptr<TemplateDict> dict) {
  FT_RETURN_IF_ERROR(SpendBytes(static_cast<int64_t>(128 * dict->items().size()) + 128));
  if (dict->depth() > kMaxTemplateValueDepth) {
    return BadInput("the template nests values deeper than {} levels", kMaxTemplateValueDepth);
  }
  return TemplateValue::Dict(std::move(dict));
}

Status TemplateInterpreter::SetItem(TemplateDict* dict, TemplateValue key, TemplateValue value) {
  if (!IsHashable(key)) return BadInput("a value of type {} cannot be a key", key.TypeName());
  dict->Set(std::move(key), std::move(value), &budget_);
  return Step();
}

Result<TemplateValue> TemplateInterpreter::MakeGenerator(IteratorPtr iterator, const TemplateValue& source) {
  const auto inner = source.As<GeneratorObject>();
  const int depth = inner == nullptr ? 1 : inner->depth + 1;
  constexpr int kMaxChain = 64;
  if (depth > kMaxChain) return BadInput("the template chains more than {} lazy filters", kMaxChain);
  auto generator = std::make_shared<GeneratorObject>(std::move(iterator), depth);
  FT_RETURN_IF_ERROR(Register(generator));
  return TemplateValue::Object(std::move(generator));
}

Status TemplateInterpreter::Register(std::shared_ptr<TemplateObject> object) {
  // They live until the render ends, so they cost more than what is freed on the way.
  constexpr int64_t kStepsPerObject = 20;
  FT_RETURN_IF_ERROR(Step(kStepsPerObject));
  FT_RETURN_IF_ERROR(SpendBytes(256));
  registered_.push_back(std::move(object));
  return OkStatus();
}

Status TemplateInterpreter::Locate(const Status& error, int line) {
  if (located_) return error;
  located_ = true;
  return Status(error.kind(), fmt::format("chat template line {}: {}", line, error.message()));
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::Execute(const Body& body) {
  for (const StmtPtr& stmt : body) {
    FT_ASSIGN_OR_RETURN(const Flow flow, ExecuteStatement(*stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::ExecuteStatement(const Stmt& stmt) {
  if (Status status = Step(); !status.ok()) return Locate(status, stmt.line);
  if (depth_ >= limits_.depth) {
    return Locate(BadInput("the template nests deeper than {} calls and blocks", limits_.depth), stmt.line);
  }
  ++depth_;
  Result<Flow> flow = ExecuteNode(stmt);
  --depth_;
  if (!flow.ok()) return Locate(flow.status(), stmt.line);
  return flow;
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::ExecuteNode(const Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::kOutput:
      FT_RETURN_IF_ERROR(ExecuteOutput(stmt));
      return Flow::kNext;
    case StmtKind::kIf:
      return ExecuteIf(stmt);
    case StmtKind::kFor: {
      FT_ASSIGN_OR_RETURN(const TemplateValue iterable, Eval(*stmt.expr));
      return RunLoop(stmt, iterable, 0);
    }
    case StmtKind::kSet: {
      FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*stmt.expr));
      FT_RETURN_IF_ERROR(Assign(*stmt.target, value));
      return Flow::kNext;
    }
    case StmtKind::kSetBlock:
    case StmtKind::kFilterBlock:
      return ExecuteCaptured(stmt);
    case StmtKind::kMacro: {
      auto macro = std::make_shared<MacroObject>(stmt.macro.get(), scope_);
      FT_RETURN_IF_ERROR(Register(macro));
      SetVariable(stmt.macro->id, TemplateValue::Object(std::move(macro)));
      return Flow::kNext;
    }
    case StmtKind::kCallBlock:
      FT_RETURN_IF_ERROR(ExecuteCallBlock(stmt));
      return Flow::kNext;
    case StmtKind::kWith:
      return ExecuteWith(stmt);
    case StmtKind::kBlock:
    case StmtKind::kGeneration: {
      // A block sees the outermost variables unless it is scoped.
      auto scope = std::make_shared<TemplateScope>();
      if (stmt.kind == StmtKind::kGeneration || stmt.scoped) scope->parent = scope_;
      return ExecuteIn(std::move(scope), stmt.body);
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
    case StmtKind::kFail:
      return BadInput("{}", stmt.text);
  }
  return Flow::kNext;
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::ExecuteIn(ScopePtr scope, const Body& body) {
  scope.swap(scope_);
  Result<Flow> flow = Execute(body);
  scope.swap(scope_);
  return flow;
}

Status TemplateInterpreter::ExecuteOutput(const Stmt& stmt) {
  for (const ExprPtr& expr : stmt.exprs) {
    const size_t before = out_->size();
    if (expr->kind == ExprKind::kConst && expr->value.is_string()) {
      out_->Append(expr->value.string());
    } else {
      FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*expr));
      if (Status status = AppendStr(*this, value, out_); !status.ok()) return Locate(status, expr->line);
    }
    if (out_->full())
      return BadInput("the template prints more than the {} bytes it may", limits_.output_bytes);
    FT_RETURN_IF_ERROR(Step(static_cast<int64_t>(out_->size() - before) / 64));
  }
  return OkStatus();
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::ExecuteIf(const Stmt& stmt) {
  for (const auto& [test, body] : stmt.branches) {
    FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*test));
    if (Truthy(value)) return Execute(body);
  }
  return Execute(stmt.otherwise);
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::ExecuteWith(const Stmt& stmt) {
  auto scope = std::make_shared<TemplateScope>();
  scope->parent = scope_;
  for (size_t i = 0; i < stmt.exprs.size(); i += 2) {
    FT_ASSIGN_OR_RETURN(const TemplateValue value, Eval(*stmt.exprs[i + 1]));
    scope.swap(scope_);
    const Status status = Assign(*stmt.exprs[i], value);
    scope.swap(scope_);
    FT_RETURN_IF_ERROR(status);
  }
  return ExecuteIn(std::move(scope), stmt.body);
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::ExecuteCaptured(const Stmt& stmt) {
  auto scope = std::make_shared<TemplateScope>();
  scope->parent = scope_;
  TextBuilder text = NewText();
  TextBuilder* const outer = std::exchange(out_, &text);
  Result<Flow> flow = ExecuteIn(scope, stmt.body);
  out_ = outer;
  if (!flow.ok() || *flow != Flow::kNext) return flow;
  FT_ASSIGN_OR_RETURN(TemplateValue value, MakeString(&text));
  if (stmt.expr != nullptr) {
    std::swap(captured_, value);
    scope.swap(scope_);
    Result<TemplateValue> filtered = Eval(*stmt.expr);
    scope.swap(scope_);
    std::swap(captured_, value);
    if (!filtered.ok()) return filtered.status();
    value = *filtered;
  }
  if (stmt.kind == StmtKind::kSetBlock) {
    FT_RETURN_IF_ERROR(Assign(*stmt.target, value));
  } else if (!value.is_string()) {
    return BadInput("a filter block must end in a string, not a value of type {}", value.TypeName());
  } else {
    FT_RETURN_IF_ERROR(AppendStr(*this, value, out_));
  }
  return flow;
}

Status TemplateInterpreter::ExecuteCallBlock(const Stmt& stmt) {
  auto caller = std::make_shared<MacroObject>(stmt.macro.get(), scope_);
  FT_RETURN_IF_ERROR(Register(caller));
  FT_ASSIGN_OR_RETURN(const TemplateValue callee, Eval(*stmt.expr->items[0]));
  FT_ASSIGN_OR_RETURN(CallArguments arguments, EvalArguments(*stmt.expr->arguments));
  for (const auto& [name, unused] : arguments.named) {
    if (name == "caller") return BadInput("a call block cannot pass the argument 'caller' itself");
  }
  arguments.named.emplace_back("caller", TemplateValue::Object(std::move(caller)));
  FT_ASSIGN_OR_RETURN(const TemplateValue value, Call(callee, std::move(arguments)));
  if (!value.is_string()) {
    return BadInput("a call block must call what gives a string, not a value of type {}", value.TypeName());
  }
  return AppendStr(*this, value, out_);
}

void TemplateInterpreter::SetVariable(int id, TemplateValue value) {
  if (scope_ == nullptr) {
    outermost_[static_cast<size_t>(id)] = std::move(value);
  } else {
    budget_.Spend(static_cast<int64_t>(scope_->variables.size()) / 8);
    scope_->Set(id, std::move(value));
  }
}

Status TemplateInterpreter::Assign(const Expr& target, const TemplateValue& value) {
  switch (target.kind) {
    case ExprKind::kName:
      SetVariable(target.id, value);
      return OkStatus();
    case ExprKind::kAttribute:
      return AssignAttribute(target, value);
    default:
      return Unpack(target, value);
  }
}

Status TemplateInterpreter::AssignAttribute(const Expr& target, const TemplateValue& value) {
  FT_ASSIGN_OR_RETURN(const TemplateValue object, Lookup(target.items[0]->id, target.items[0]->name));
  const auto space = object.As<NamespaceObject>();
  if (space == nullptr) {
    return BadInput("cannot set the attribute '{}' of a value of type {}, only of a namespace", target.name,
                    object.TypeName());
  }
  if (target.name[0] == '_')
    return BadInput("a namespace cannot store the underscored attribute '{}'", target.name);
  return SetItem(space->attributes.get(), TemplateValue::String(target.name), value);
}

Status TemplateInterpreter::Unpack(const Expr& target, const TemplateValue& value) {
  FT_ASSIGN_OR_RETURN(const std::vector<TemplateValue> items, Collect(value));
  if (items.size() != target.items.size()) {
    return BadInput("cannot unpack {} values into {} names", items.size(), target.items.size());
  }
  for (size_t i = 0; i < items.size(); ++i) FT_RETURN_IF_ERROR(Assign(*target.items[i], items[i]));
  return OkStatus();
}

}  // namespace fusiontree::tokenizer
