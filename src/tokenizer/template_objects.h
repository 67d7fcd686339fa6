// The values of a render that are neither scalars nor lists, tuples and dicts.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_OBJECTS_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_OBJECTS_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/template_ast.h"
#include "tokenizer/template_value.h"

namespace fusiontree::tokenizer {

class TemplateInterpreter;

struct CallArguments {
  std::vector<TemplateValue> positional;
  std::vector<std::pair<std::string, TemplateValue>> named;
};

// Variables of one block, macro call or loop iteration; the outermost scope belongs to the interpreter.
struct TemplateScope {
  std::shared_ptr<TemplateScope> parent;
  std::vector<std::pair<int, TemplateValue>> variables;
  TemplateValue* Find(int id) {
    for (auto& [key, value] : variables) {
      if (key == id) return &value;
    }
    return nullptr;
  }
  void Set(int id, TemplateValue value) {
    if (TemplateValue* old = Find(id)) {
      *old = std::move(value);
    } else {
      variables.emplace_back(id, std::move(value));
    }
  }
};
using ScopePtr = std::shared_ptr<TemplateScope>;

// One pass over an iterable. False at the end.
class TemplateIterator {
 public:
  virtual ~TemplateIterator() = default;
  virtual base::Result<bool> Next(TemplateInterpreter& in, TemplateValue* item) = 0;
};
using IteratorPtr = std::unique_ptr<TemplateIterator>;

struct RangeObject : TemplateObject {
  RangeObject(int64_t first, int64_t end, int64_t by, int64_t count)
      : start(first), stop(end), step(by), length(count) {}
  const char* TypeName() const override { return "range"; }
  int64_t start, stop, step, length;
};

struct DictViewObject : TemplateObject {
  enum class What { kKeys, kValues, kItems };
  DictViewObject(What w, std::shared_ptr<TemplateDict> d) : what(w), dict(std::move(d)) {}
  const char* TypeName() const override {
    return what == What::kKeys ? "dict_keys" : what == What::kValues ? "dict_values" : "dict_items";
  }
  size_t size() const { return dict->items().size(); }
  TemplateValue At(size_t i) const;
  What what;
  std::shared_ptr<TemplateDict> dict;
};

// What lazy filters return: once through, always true, without a length.
struct GeneratorObject : TemplateObject {
  GeneratorObject(IteratorPtr iterator, int nesting) : source(std::move(iterator)), depth(nesting) {}
  const char* TypeName() const override { return "generator"; }
  void Clear() override { source.reset(); }
  IteratorPtr source;
  int depth;  // generators over generators: their destruction recurses
};

struct NamespaceObject : TemplateObject {
  const char* TypeName() const override { return "Namespace"; }
  void Clear() override { attributes = std::make_shared<TemplateDict>(); }
  std::shared_ptr<TemplateDict> attributes = std::make_shared<TemplateDict>();
};

struct MacroObject : TemplateObject {
  MacroObject(const MacroSyntax* s, ScopePtr where) : syntax(s), scope(std::move(where)) {}
  const char* TypeName() const override { return "Macro"; }
  void Clear() override { scope.reset(); }
  const MacroSyntax* syntax;
  ScopePtr scope;  // where it was defined; null is the outermost
};

// The `loop` of a for statement.
struct LoopObject : TemplateObject {
  const char* TypeName() const override { return "LoopContext"; }
  void Clear() override;
  base::Result<bool> Advance(TemplateInterpreter& in);
  base::Result<bool> Peek(TemplateInterpreter& in);  // false: there is no next item
  base::Result<int64_t> Length(TemplateInterpreter& in);

  const Stmt* statement = nullptr;
  ScopePtr scope;  // around the for statement
  IteratorPtr source;
  TemplateValue iterable;
  bool has_length = false;  // iterable answers len()
  int64_t index0 = -1;
  int64_t depth0 = 0;
  std::optional<int64_t> length;
  std::optional<TemplateValue> after;
  TemplateValue current;
  TemplateValue before;
  std::optional<TemplateValue> last_changed;
  bool ended = false;
};

// "text".upper, messages.pop, loop.cycle
struct MethodObject : TemplateObject {
  MethodObject(TemplateValue s, std::string n) : self(std::move(s)), name(std::move(n)) {}
  const char* TypeName() const override { return "builtin_function_or_method"; }
  TemplateValue self;
  std::string name;
};

// range, dict, namespace, raise_exception, strftime_now
struct FunctionObject : TemplateObject {
  using Function = base::Result<TemplateValue> (*)(TemplateInterpreter&, const CallArguments&);
  FunctionObject(std::string n, Function f) : name(std::move(n)), function(f) {}
  const char* TypeName() const override { return "function"; }
  std::string name;
  Function function;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_OBJECTS_H_
