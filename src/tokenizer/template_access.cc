// Attributes, subscripts, slices and calls, with the sandbox's rules.
#include <algorithm>
#include <utility>

#include "tokenizer/template_interpreter.h"
#include "tokenizer/template_methods.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

TemplateValue Missing(const TemplateValue& object, const std::string& name) {
  return TemplateValue::Undefined(
      fmt::format("a value of type {} has no attribute '{}'", object.TypeName(), name));
}

TemplateValue Unsafe(const TemplateValue& object, const std::string& name) {
  return TemplateValue::Undefined(
      fmt::format("the attribute '{}' of a value of type {} is not for templates", name, object.TypeName()));
}

bool IsDunder(std::string_view name) {
  return name.size() > 4 && name.starts_with("__") && name.ends_with("__");
}

// The attributes of loop, or nothing.
Result<std::optional<TemplateValue>> LoopAttribute(TemplateInterpreter& in,
                                                   const std::shared_ptr<LoopObject>& loop,
                                                   const std::string& name) {
  using Found = std::optional<TemplateValue>;
  if (name == "index") return Found(TemplateValue::Int(loop->index0 + 1));
  if (name == "index0") return Found(TemplateValue::Int(loop->index0));
  if (name == "first") return Found(TemplateValue::Bool(loop->index0 == 0));
  if (name == "depth") return Found(TemplateValue::Int(loop->depth0 + 1));
  if (name == "depth0") return Found(TemplateValue::Int(loop->depth0));
  if (name == "length" || name == "revindex" || name == "revindex0") {
    FT_ASSIGN_OR_RETURN(const int64_t length, loop->Length(in));
    const int64_t passed = name == "length" ? 0 : name == "revindex" ? loop->index0 : loop->index0 + 1;
    return Found(TemplateValue::Int(length - passed));
  }
  if (name == "last" || name == "nextitem") {
    FT_ASSIGN_OR_RETURN(const bool more, loop->Peek(in));
    if (name == "last") return Found(TemplateValue::Bool(!more));
    return Found(more ? *loop->after : TemplateValue::Undefined("there is no next item"));
  }
  if (name == "previtem") {
    return Found(loop->index0 == 0 ? TemplateValue::Undefined("there is no previous item") : loop->before);
  }
  if (name == "cycle" || name == "changed") {
    return Found(TemplateValue::Object(std::make_shared<MethodObject>(TemplateValue::Object(loop), name)));
  }
  return Found();
}

TemplateValue MacroAttribute(const MacroObject& macro, const std::string& name) {
  const MacroSyntax& syntax = *macro.syntax;
  if (name == "name") return syntax.name.empty() ? TemplateValue() : TemplateValue::String(syntax.name);
  if (name == "catch_kwargs") return TemplateValue::Bool(syntax.uses_kwargs);
  if (name == "catch_varargs") return TemplateValue::Bool(syntax.uses_varargs);
  if (name == "caller") return TemplateValue::Bool(syntax.uses_caller);
  if (name != "arguments") return TemplateValue::Undefined("a macro has no attribute '" + name + "'");
  std::vector<TemplateValue> names;
  for (const Parameter& parameter : syntax.parameters) names.push_back(TemplateValue::String(parameter.name));
  return TemplateValue::Tuple(std::move(names));
}

// Python's attribute, without looking at items; nothing when there is none.
Result<std::optional<TemplateValue>> PlainAttribute(TemplateInterpreter& in, const TemplateValue& object,
                                                    const std::string& name) {
  using Found = std::optional<TemplateValue>;
  if (const auto space = object.As<NamespaceObject>()) {
    if (const TemplateValue* value = space->attributes->Find(name)) return Found(*value);
    return Found();
  }
  if (IsDunder(name)) return Found(Unsafe(object, name));
  if (name[0] == '_') return Found();
  if (const auto loop = object.As<LoopObject>()) return LoopAttribute(in, loop, name);
  if (const auto macro = object.As<MacroObject>()) return Found(MacroAttribute(*macro, name));
  if (object.is(Kind::kTuple) && object.list().group && (name == "grouper" || name == "list")) {
    return Found(object.items()[name == "grouper" ? 0 : 1]);
  }
  if (!HasMethod(object, name)) return Found();
  if (IsForbiddenMethod(object, name)) return Found(Unsafe(object, name));
  return Found(TemplateValue::Object(std::make_shared<MethodObject>(object, name)));
}

// obj[key] as Python has it, nothing where that raises TypeError or LookupError.
Result<std::optional<TemplateValue>> PlainItem(TemplateInterpreter& in, const TemplateValue& object,
                                               const TemplateValue& key) {
  using Found = std::optional<TemplateValue>;
  if (object.is(Kind::kDict)) {
    if (!IsHashable(key)) return Found();
    const TemplateValue* value = object.dict().Find(key, in.budget());
    FT_RETURN_IF_ERROR(in.Step());
    return value == nullptr ? Found() : Found(*value);
  }
  if (!key.is_integer()) return Found();
  int64_t i = key.integer();
  if (object.is_sequence()) {
    const auto size = static_cast<int64_t>(object.items().size());
    if (i < 0) i += size;
    if (i < 0 || i >= size) return Found();
    return Found(object.items()[static_cast<size_t>(i)]);
  }
  if (object.is_string()) {
    const std::string& text = object.text();
    FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(text.size()) / 64));
    if (i < 0) i += static_cast<int64_t>(CountCodePoints(text));
    if (i < 0 || i >= static_cast<int64_t>(text.size())) return Found();
    const size_t begin = ByteOffset(text, static_cast<size_t>(i));
    if (begin == text.size()) return Found();
    FT_ASSIGN_OR_RETURN(TemplateValue character,
                        in.MakeString(SubText(object.string(), begin, begin + DecodeAt(text, begin).size)));
    return Found(std::move(character));
  }
  if (const auto range = object.As<RangeObject>()) {
    if (i < 0) i += range->length;
    if (i < 0 || i >= range->length) return Found();
    return Found(TemplateValue::Int(range->start + i * range->step));
  }
  return Found();
}

// Python's slice.indices: start, step and count for a sequence of `size`.
struct SliceRange {
  int64_t start, stop, step, count;
};
Result<SliceRange> ResolveSlice(const TemplateValue (&bounds)[3], int64_t size) {
  for (const TemplateValue& bound : bounds) {
    if (bound.is_undefined()) return BadInput("{}", bound.why());
    if (!bound.is_none() && !bound.is_integer()) {
      return BadInput("slice bounds must be integers or none, not {}", bound.TypeName());
    }
  }
  const int64_t step = bounds[2].is_none() ? 1 : bounds[2].integer();
  if (step == 0) return BadInput("a slice cannot have step 0");
  const int64_t low = step > 0 ? 0 : -1;
  const int64_t high = step > 0 ? size : size - 1;
  const auto place = [&](const TemplateValue& bound, int64_t otherwise) {
    if (bound.is_none()) return otherwise;
    int64_t i = bound.integer();
    if (i < 0) i = i < -size ? low : i + size;
    return std::clamp(i, low, std::max(low, high));
  };
  const int64_t start = place(bounds[0], step > 0 ? 0 : size - 1);
  const int64_t stop = place(bounds[1], step > 0 ? size : -1);
  // Unsigned: a step near the ends of int64 must not overflow.
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  const int64_t distance = step > 0 ? stop - start : start - stop;
  const int64_t count =
      distance <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride) + 1;
  return SliceRange{start, stop, step, count};
}

}  // namespace

Result<TemplateValue> TemplateInterpreter::GetAttribute(const TemplateValue& object,
                                                        const std::string& name) {
  if (object.is_undefined()) return BadInput("{}", object.why());
  FT_ASSIGN_OR_RETURN(std::optional<TemplateValue> found, PlainAttribute(*this, object, name));
  if (!found.has_value() && object.is(Kind::kDict)) {
    if (const TemplateValue* item = object.dict().Find(name)) return *item;
  }
  if (!found.has_value()) return Missing(object, name);
  if (name[0] == '_') return Unsafe(object, name);
  return std::move(*found);
}

Result<TemplateValue> TemplateInterpreter::GetItem(const TemplateValue& object, const TemplateValue& key) {
  if (object.is_undefined()) return BadInput("{}", object.why());
  FT_ASSIGN_OR_RETURN(std::optional<TemplateValue> found, PlainItem(*this, object, key));
  if (found.has_value()) return std::move(*found);
  if (!key.is_string()) {
    return TemplateValue::Undefined(fmt::format("a value of type {} has no such element", object.TypeName()));
  }
  if (key.text().empty()) return Missing(object, key.text());
  FT_ASSIGN_OR_RETURN(found, PlainAttribute(*this, object, key.text()));
  if (!found.has_value()) return Missing(object, key.text());
  if (key.text()[0] == '_') return Unsafe(object, key.text());
  return std::move(*found);
}

Result<TemplateValue> TemplateInterpreter::GetSlice(const TemplateValue& object,
                                                    const TemplateValue (&bounds)[3]) {
  if (object.is_undefined()) return BadInput("{}", object.why());
  if (object.is_string()) {
    const TemplateString& s = object.string();
    std::vector<size_t> starts;  // byte offset of each code point, and the end
    for (size_t at = 0; at < s.text.size(); at += DecodeAt(s.text, at).size) starts.push_back(at);
    starts.push_back(s.text.size());
    FT_RETURN_IF_ERROR(SpendBytes(static_cast<int64_t>(s.text.size())));
    FT_ASSIGN_OR_RETURN(const SliceRange range,
                        ResolveSlice(bounds, static_cast<int64_t>(starts.size()) - 1));
    const auto first = static_cast<size_t>(range.start);
    if (range.step == 1) {
      if (range.count == 0) return MakeString(std::string());
      return MakeString(SubText(s, starts[first], starts[first + static_cast<size_t>(range.count)]));
    }
    TextBuilder text = NewText();
    for (int64_t k = 0; k < range.count; ++k) {
      const auto i = static_cast<size_t>(range.start + k * range.step);
      text.Append(s, starts[i], starts[i + 1]);
    }
    return MakeString(&text);
  }
  if (object.is_sequence()) {
    FT_ASSIGN_OR_RETURN(const SliceRange range,
                        ResolveSlice(bounds, static_cast<int64_t>(object.items().size())));
    std::vector<TemplateValue> items;
    for (int64_t k = 0; k < range.count; ++k) {
      items.push_back(object.items()[static_cast<size_t>(range.start + k * range.step)]);
    }
    FT_RETURN_IF_ERROR(Step(range.count / 8));
    return object.is(Kind::kList) ? MakeList(std::move(items)) : MakeTuple(std::move(items));
  }
  if (const auto whole = object.As<RangeObject>()) {
    FT_ASSIGN_OR_RETURN(const SliceRange range, ResolveSlice(bounds, whole->length));
    int64_t step = 0;
    if (__builtin_mul_overflow(whole->step, range.step, &step))
      return BadInput("the range's step is too large");
    return TemplateValue::Object(std::make_shared<RangeObject>(whole->start + range.start * whole->step,
                                                               whole->start + range.stop * whole->step, step,
                                                               range.count));
  }
  return BadInput("a value of type {} cannot be sliced", object.TypeName());
}

Result<TemplateValue> TemplateInterpreter::Call(const TemplateValue& callee, CallArguments arguments) {
  if (callee.is_undefined()) return BadInput("{}", callee.why());
  if (const auto macro = callee.As<MacroObject>()) return CallMacro(*macro, std::move(arguments));
  if (const auto method = callee.As<MethodObject>())
    return CallMethod(*this, method->self, method->name, arguments);
  if (const auto function = callee.As<FunctionObject>()) return function->function(*this, arguments);
  if (const auto loop = callee.As<LoopObject>()) {
    if (arguments.positional.size() != 1 || !arguments.named.empty())
      return BadInput("'loop' takes one argument");
    return CallLoop(loop.get(), arguments.positional[0]);
  }
  return BadInput("a value of type {} cannot be called", callee.TypeName());
}

// Jinja's Macro.__call__: positional arguments first, the rest by name, then caller, kwargs and varargs for a
// body that mentions them.
Status TemplateInterpreter::BindMacro(const MacroObject& macro, CallArguments* arguments,
                                      TemplateScope* scope, std::vector<const Parameter*>* missing) {
  const MacroSyntax& syntax = *macro.syntax;
  const size_t count = syntax.parameters.size();
  const auto take = [&](const std::string& name) -> std::optional<TemplateValue> {
    for (auto entry = arguments->named.begin(); entry != arguments->named.end(); ++entry) {
      if (entry->first != name) continue;
      TemplateValue value = std::move(entry->second);
      arguments->named.erase(entry);
      return value;
    }
    return std::nullopt;
  };
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = syntax.parameters[i];
    if (i < arguments->positional.size()) {
      scope->Set(parameter.id, arguments->positional[i]);
    } else if (std::optional<TemplateValue> given = take(parameter.name)) {
      scope->Set(parameter.id, std::move(*given));
    } else {
      missing->push_back(&parameter);
    }
  }
  if (syntax.uses_caller) {
    scope->Set(ast_.caller_id, take("caller").value_or(TemplateValue::Undefined("the macro has no caller")));
  }
  if (syntax.uses_kwargs) {
    auto rest = std::make_shared<TemplateDict>();
    for (auto& [name, value] : arguments->named) {
      FT_RETURN_IF_ERROR(SetItem(rest.get(), TemplateValue::String(name), std::move(value)));
    }
    FT_ASSIGN_OR_RETURN(TemplateValue kwargs, MakeDict(std::move(rest)));
    scope->Set(ast_.kwargs_id, std::move(kwargs));
  } else if (!arguments->named.empty()) {
    return BadInput("the macro '{}' has no argument named '{}'", syntax.name, arguments->named[0].first);
  }
  const size_t used = std::min(count, arguments->positional.size());
  if (syntax.uses_varargs) {
    FT_ASSIGN_OR_RETURN(TemplateValue rest,
                        MakeTuple({arguments->positional.begin() + static_cast<ptrdiff_t>(used),
                                   arguments->positional.end()}));
    scope->Set(ast_.varargs_id, std::move(rest));
  } else if (arguments->positional.size() > count) {
    return BadInput("the macro '{}' takes at most {} arguments, not {}", syntax.name, count,
                    arguments->positional.size());
  }
  return OkStatus();
}

Result<TemplateValue> TemplateInterpreter::CallMacro(const MacroObject& macro, CallArguments arguments) {
  auto scope = std::make_shared<TemplateScope>();
  scope->parent = macro.scope;
  std::vector<const Parameter*> missing;
  FT_RETURN_IF_ERROR(BindMacro(macro, &arguments, scope.get(), &missing));
  TextBuilder text = NewText();
  ScopePtr outer_scope = std::exchange(scope_, scope);
  TextBuilder* const outer = std::exchange(out_, &text);
  for (const Parameter* parameter : missing) {
    if (parameter->otherwise == nullptr) {
      scope->Set(parameter->id, TemplateValue::Undefined(
                                    fmt::format("the parameter '{}' was not provided", parameter->name)));
      continue;
    }
    FT_ASSIGN_OR_RETURN(TemplateValue value, Eval(*parameter->otherwise));
    scope->Set(parameter->id, std::move(value));
  }
  const Result<Flow> flow = Execute(macro.syntax->body);
  scope_ = std::move(outer_scope);
  out_ = outer;
  if (!flow.ok()) return flow.status();
  return MakeString(&text);
}

}  // namespace fusiontree::tokenizer
