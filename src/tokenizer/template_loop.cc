// Iteration: what can be iterated, and the for statement with its loop variable.
#include <algorithm>
#include <utility>

#include "tokenizer/template_interpreter.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

// Live, as Python's list iterator: an element popped meanwhile is not seen.
class ListIterator : public TemplateIterator {
 public:
  explicit ListIterator(TemplateValue list) : list_(std::move(list)) {}
  Result<bool> Next(TemplateInterpreter&, TemplateValue* item) override {
    if (at_ >= list_.items().size()) return false;
    *item = list_.items()[at_++];
    return true;
  }

 private:
  TemplateValue list_;
  size_t at_ = 0;
};

class CharacterIterator : public TemplateIterator {
 public:
  explicit CharacterIterator(TemplateValue text) : text_(std::move(text)) {}
  Result<bool> Next(TemplateInterpreter& in, TemplateValue* item) override {
    const std::string& text = text_.text();
    if (at_ >= text.size()) return false;
    const size_t begin = at_;
    at_ += DecodeAt(text, begin).size;
    TemplateString character = SubText(text_.string(), begin, at_);
    character.markup = false;  // Markup's iterator is that of str
    FT_ASSIGN_OR_RETURN(*item, in.MakeString(std::move(character)));
    return true;
  }

 private:
  TemplateValue text_;
  size_t at_ = 0;
};

class ViewIterator : public TemplateIterator {
 public:
  explicit ViewIterator(DictViewObject view) : view_(std::move(view)) {}
  Result<bool> Next(TemplateInterpreter& in, TemplateValue* item) override {
    if (at_ >= view_.size()) return false;
    FT_RETURN_IF_ERROR(in.SpendBytes(64));
    *item = view_.At(at_++);
    return true;
  }

 private:
  DictViewObject view_;
  size_t at_ = 0;
};

class RangeIterator : public TemplateIterator {
 public:
  explicit RangeIterator(const RangeObject& range) : range_(range) {}
  Result<bool> Next(TemplateInterpreter&, TemplateValue* item) override {
    if (at_ >= range_.length) return false;
    *item = TemplateValue::Int(range_.start + at_++ * range_.step);
    return true;
  }

 private:
  RangeObject range_;
  int64_t at_ = 0;
};

class GeneratorIterator : public TemplateIterator {
 public:
  explicit GeneratorIterator(std::shared_ptr<GeneratorObject> generator) : generator_(std::move(generator)) {}
  Result<bool> Next(TemplateInterpreter& in, TemplateValue* item) override {
    if (generator_->source == nullptr) return false;
    // Taken out meanwhile: a generator that reaches itself through a macro finds itself empty.
    IteratorPtr source = std::move(generator_->source);
    FT_ASSIGN_OR_RETURN(const bool more, source->Next(in, item));
    if (more) generator_->source = std::move(source);
    return more;
  }

 private:
  std::shared_ptr<GeneratorObject> generator_;
};

class EmptyIterator : public TemplateIterator {
 public:
  Result<bool> Next(TemplateInterpreter&, TemplateValue*) override { return false; }
};

// `for x in y if condition`: the condition runs when the item is asked for.
class FilteredIterator : public TemplateIterator {
 public:
  FilteredIterator(IteratorPtr source, const Stmt* loop, ScopePtr scope)
      : source_(std::move(source)), loop_(loop), scope_(std::move(scope)) {}
  Result<bool> Next(TemplateInterpreter& in, TemplateValue* item) override {
    while (true) {
      FT_ASSIGN_OR_RETURN(const bool more, source_->Next(in, item));
      if (!more) return false;
      FT_ASSIGN_OR_RETURN(const bool passes, in.PassesLoopFilter(*loop_, scope_, *item));
      if (passes) return true;
    }
  }

 private:
  IteratorPtr source_;
  const Stmt* loop_;
  ScopePtr scope_;
};

}  // namespace

TemplateValue DictViewObject::At(size_t i) const {
  const auto& [key, value] = dict->items()[i];
  if (what == What::kKeys) return key;
  if (what == What::kValues) return value;
  return TemplateValue::Tuple({key, value});
}

Result<IteratorPtr> TemplateInterpreter::Iterate(const TemplateValue& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return IteratorPtr(std::make_unique<EmptyIterator>());
    case Kind::kString:
      return IteratorPtr(std::make_unique<CharacterIterator>(value));
    case Kind::kList:
    case Kind::kTuple:
      return IteratorPtr(std::make_unique<ListIterator>(value));
    case Kind::kDict:
      return IteratorPtr(
          std::make_unique<ViewIterator>(DictViewObject(DictViewObject::What::kKeys, value.shared_dict())));
    case Kind::kObject:
      if (const auto view = value.As<DictViewObject>())
        return IteratorPtr(std::make_unique<ViewIterator>(*view));
      if (const auto range = value.As<RangeObject>())
        return IteratorPtr(std::make_unique<RangeIterator>(*range));
      if (auto generator = value.As<GeneratorObject>()) {
        return IteratorPtr(std::make_unique<GeneratorIterator>(std::move(generator)));
      }
      break;
    default:
      break;
  }
  return BadInput("a value of type {} cannot be iterated", value.TypeName());
}

Result<std::vector<TemplateValue>> TemplateInterpreter::Collect(const TemplateValue& value) {
  FT_ASSIGN_OR_RETURN(const IteratorPtr iterator, Iterate(value));
  std::vector<TemplateValue> items;
  TemplateValue item;
  while (true) {
    FT_ASSIGN_OR_RETURN(const bool more, iterator->Next(*this, &item));
    if (!more) return items;
    FT_RETURN_IF_ERROR(Step());
    FT_RETURN_IF_ERROR(SpendBytes(sizeof(TemplateValue)));
    items.push_back(item);
  }
}

void LoopObject::Clear() {
  scope.reset();
  source.reset();
  iterable = current = before = TemplateValue();
  after.reset();
  last_changed.reset();
  ended = true;
}

Result<bool> LoopObject::Peek(TemplateInterpreter& in) {
  if (after.has_value()) return true;
  if (source == nullptr) return false;
  // Taken out meanwhile: the condition of a filtered loop may ask this very loop for its length.
  IteratorPtr running = std::move(source);
  TemplateValue item;
  FT_ASSIGN_OR_RETURN(const bool more, running->Next(in, &item));
  source = std::move(running);
  if (more) after = std::move(item);
  return more;
}

Result<bool> LoopObject::Advance(TemplateInterpreter& in) {
  FT_ASSIGN_OR_RETURN(const bool more, Peek(in));
  if (!more) return false;
  ++index0;
  before = std::exchange(current, std::move(*after));
  after.reset();
  return true;
}

Result<int64_t> LoopObject::Length(TemplateInterpreter& in) {
  if (length.has_value()) return *length;
  if (has_length) {
    FT_ASSIGN_OR_RETURN(length, LengthOf(in, iterable));
    return *length;
  }
  // Not known before everything was produced: keep what remains in a list.
  std::vector<TemplateValue> rest;
  TemplateValue item;
  const IteratorPtr running = std::move(source);
  while (running != nullptr) {
    FT_ASSIGN_OR_RETURN(const bool more, running->Next(in, &item));
    if (!more) break;
    FT_RETURN_IF_ERROR(in.Step());
    rest.push_back(item);
  }
  length = static_cast<int64_t>(rest.size()) + index0 + 1 + after.has_value();
  FT_ASSIGN_OR_RETURN(const TemplateValue list, in.MakeList(std::move(rest)));
  source = std::make_unique<ListIterator>(list);
  return *length;
}

Result<bool> TemplateInterpreter::PassesLoopFilter(const Stmt& loop, const ScopePtr& scope,
                                                   const TemplateValue& item) {
  FT_RETURN_IF_ERROR(Step());
  auto inner = std::make_shared<TemplateScope>();
  inner->parent = scope;
  ScopePtr outer = std::exchange(scope_, std::move(inner));
  Status status = Assign(*loop.target, item);
  Result<TemplateValue> value = status.ok() ? Eval(*loop.filter) : Result<TemplateValue>(status);
  scope_ = std::move(outer);
  if (!value.ok()) return value.status();
  return Truthy(*value);
}

Result<TemplateValue> TemplateInterpreter::CallLoop(LoopObject* loop, const TemplateValue& iterable) {
  if (!loop->statement->recursive) return BadInput("'loop' can be called only in a loop marked recursive");
  if (loop->ended) return BadInput("'loop' was called after its loop had ended");
  const Stmt& stmt = *loop->statement;
  const int64_t depth = loop->depth0 + 1;
  TextBuilder text = NewText();
  TextBuilder* const outer = std::exchange(out_, &text);
  ScopePtr caller = std::exchange(scope_, loop->scope);
  const Result<Flow> flow = RunLoop(stmt, iterable, depth);
  scope_ = std::move(caller);
  out_ = outer;
  if (!flow.ok()) return flow.status();
  return MakeString(&text);
}

Result<TemplateInterpreter::Flow> TemplateInterpreter::RunLoop(const Stmt& stmt,
                                                               const TemplateValue& iterable,
                                                               int64_t depth0) {
  auto loop = std::make_shared<LoopObject>();
  loop->statement = &stmt;
  loop->scope = scope_;
  loop->iterable = iterable;
  loop->has_length = stmt.filter == nullptr && HasLength(iterable);
  loop->depth0 = depth0;
  FT_ASSIGN_OR_RETURN(loop->source, Iterate(iterable));
  if (stmt.filter != nullptr) {
    loop->source = std::make_unique<FilteredIterator>(std::move(loop->source), &stmt, scope_);
  }
  const TemplateValue loop_value = TemplateValue::Object(loop);
  const ScopePtr outer = scope_;
  const Result<bool> completed = RunIterations(stmt, loop.get(), loop_value);
  scope_ = outer;
  loop->Clear();  // a loop kept in a namespace must not keep the namespace
  if (!completed.ok()) return completed.status();
  if (*completed || stmt.otherwise.empty()) return Flow::kNext;
  auto scope = std::make_shared<TemplateScope>();
  scope->parent = scope_;
  return ExecuteIn(std::move(scope), stmt.otherwise);
}

// Whether any iteration reached its end: as in Jinja's generated code, one left by break or continue does not
// count, and the else branch runs if none does.
Result<bool> TemplateInterpreter::RunIterations(const Stmt& stmt, LoopObject* loop,
                                                const TemplateValue& loop_value) {
  const ScopePtr outer = scope_;
  ScopePtr scope;
  bool completed = false;
  while (true) {
    scope_ = outer;
    FT_ASSIGN_OR_RETURN(const bool more, loop->Advance(*this));
    if (!more) return completed;
    FT_RETURN_IF_ERROR(Step());  // an empty body counts too
    if (scope != nullptr && scope.use_count() == 1) {
      scope->variables.clear();
    } else {
      scope = std::make_shared<TemplateScope>();
      scope->parent = outer;
    }
    scope_ = scope;
    scope->Set(ast_.loop_id, loop_value);
    FT_RETURN_IF_ERROR(Assign(*stmt.target, loop->current));
    FT_ASSIGN_OR_RETURN(const Flow flow, Execute(stmt.body));
    if (flow == Flow::kBreak) return completed;
    completed |= flow == Flow::kNext;
  }
}

}  // namespace fusiontree::tokenizer
