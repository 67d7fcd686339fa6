#include "tokenizer/template_operators.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

constexpr const char* kOpNames[] = {
    "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

Status Unsupported(TemplateOp op, const TemplateValue& a, const TemplateValue& b) {
  if (a.is_undefined()) return BadInput("{}", a.why());
  if (b.is_undefined()) return BadInput("{}", b.why());
  return BadInput("'{}' does not work between values of types {} and {}", kOpNames[static_cast<int>(op)],
                  a.TypeName(), b.TypeName());
}

Status Overflow(TemplateOp op, int64_t a, int64_t b) {
  return BadInput("{} {} {} does not fit in 64 bits", a, kOpNames[static_cast<int>(op)], b);
}

Result<TemplateValue> IntegerPower(int64_t base_value, int64_t exponent) {
  int64_t result = 1;
  int64_t factor = base_value;
  for (int64_t left = exponent; left > 0; left >>= 1) {
    if ((left & 1) != 0 && __builtin_mul_overflow(result, factor, &result)) {
      return Overflow(TemplateOp::kPow, base_value, exponent);
    }
    if (left > 1 && __builtin_mul_overflow(factor, factor, &factor)) {
      return Overflow(TemplateOp::kPow, base_value, exponent);
    }
  }
  return TemplateValue::Int(result);
}

Result<TemplateValue> IntegerOperation(TemplateOp op, int64_t a, int64_t b) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case TemplateOp::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case TemplateOp::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case TemplateOp::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case TemplateOp::kDiv:
      if (b == 0) return BadInput("{} is divided by zero", a);
      // Python divides the integers exactly before it rounds; beyond 2^53 a double would round them first.
      return TemplateValue::Float(
          static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case TemplateOp::kFloorDiv:
    case TemplateOp::kMod: {
      if (b == 0) return BadInput("{} is divided by zero", a);
      if (a == kLeast && b == -1) {
        if (op == TemplateOp::kFloorDiv) return Overflow(op, a, b);
        return TemplateValue::Int(0);
      }
      // Python rounds the quotient down; C++ cuts it off.
      const bool lower = a % b != 0 && (a < 0) != (b < 0);
      result = op == TemplateOp::kFloorDiv ? a / b - lower : a % b + (lower ? b : 0);
      break;
    }
    default:
      if (b < 0) {
        if (a == 0) return BadInput("zero cannot be raised to the power {}", b);
        return TemplateValue::Float(std::pow(static_cast<double>(a), static_cast<double>(b)));
      }
      return IntegerPower(a, b);
  }
  if (overflow) return Overflow(op, a, b);
  return TemplateValue::Int(result);
}

Result<TemplateValue> RealOperation(TemplateOp op, double a, double b) {
  switch (op) {
    case TemplateOp::kAdd:
      return TemplateValue::Float(a + b);
    case TemplateOp::kSub:
      return TemplateValue::Float(a - b);
    case TemplateOp::kMul:
      return TemplateValue::Float(a * b);
    case TemplateOp::kPow: {
      if (a == 0 && b < 0) return BadInput("zero cannot be raised to the power {}", b);
      const double power = std::pow(a, b);
      if (std::isnan(power) && !std::isnan(a) && !std::isnan(b))
        return BadInput("{} ** {} is no real number", a, b);
      if (std::isinf(power) && std::isfinite(a) && std::isfinite(b))
        return BadInput("{} ** {} is too large", a, b);
      return TemplateValue::Float(power);
    }
    default:
      break;
  }
  if (b == 0) return BadInput("{} is divided by zero", a);
  if (op == TemplateOp::kDiv) return TemplateValue::Float(a / b);
  // CPython's float_divmod.
  double mod = std::fmod(a, b);
  double quotient = (a - mod) / b;
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) {
      mod += b;
      quotient -= 1;
    }
  } else {
    mod = std::copysign(0.0, b);
  }
  if (op == TemplateOp::kMod) return TemplateValue::Float(mod);
  if (quotient == 0) return TemplateValue::Float(std::copysign(0.0, a / b));
  double floor = std::floor(quotient);
  if (quotient - floor > 0.5) floor += 1;
  return TemplateValue::Float(floor);
}

Result<TemplateValue> Repeat(TemplateInterpreter& in, const TemplateValue& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (value.is_string()) {
    const TemplateString& s = value.string();
    const size_t limit = in.limits().value_bytes;
    if (!s.text.empty() && static_cast<size_t>(times) > limit / s.text.size()) {
      return BadInput("a text of {} bytes repeated {} times is longer than the {} bytes allowed",
                      s.text.size(), times, limit);
    }
    TextBuilder text = in.NewText();
    for (int64_t i = 0; i < times && !s.text.empty(); ++i) text.Append(s);
    TemplateString result = text.Take();
    result.markup = s.markup;
    return in.MakeString(std::move(result));
  }
  const std::vector<TemplateValue>& items = value.items();
  const auto limit = static_cast<size_t>(in.limits().total_bytes) / sizeof(TemplateValue);
  if (!items.empty() && static_cast<size_t>(times) > limit / items.size()) {
    return BadInput("a list of {} values repeated {} times is too long", items.size(), times);
  }
  FT_RETURN_IF_ERROR(in.SpendBytes(static_cast<int64_t>(items.size() * sizeof(TemplateValue)) * times));
  std::vector<TemplateValue> repeated;
  for (int64_t i = 0; i < times && !items.empty(); ++i)
    repeated.insert(repeated.end(), items.begin(), items.end());
  return value.is(Kind::kList) ? in.MakeList(std::move(repeated)) : in.MakeTuple(std::move(repeated));
}

Result<TemplateValue> Join(TemplateInterpreter& in, const TemplateValue& a, const TemplateValue& b) {
  if (a.is_string()) {
    TextBuilder text = in.NewText();
    const bool markup = a.string().markup || b.string().markup;
    for (const TemplateValue* part : {&a, &b}) {
      if (markup && !part->string().markup) {
        text.Append(Escaped(part->string()));
      } else {
        text.Append(part->string());
      }
    }
    if (!markup || text.full()) return in.MakeString(&text);
    TemplateString result = text.Take();
    result.markup = true;
    return in.MakeString(std::move(result));
  }
  std::vector<TemplateValue> items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::kList) ? in.MakeList(std::move(items)) : in.MakeTuple(std::move(items));
}

// -1, 0, 1 by the first element that differs; lists and tuples as Python compares them.
Result<bool> OrderSequences(TemplateInterpreter& in, TemplateOp op, const TemplateValue& a,
                            const TemplateValue& b) {
  const auto& x = a.items();
  const auto& y = b.items();
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    FT_RETURN_IF_ERROR(in.Step());
    if (!EqualValues(x[i], y[i], in.budget())) return Compare(in, op, x[i], y[i]);
  }
  return Compare(in, op, TemplateValue::Int(static_cast<int64_t>(x.size())),
                 TemplateValue::Int(static_cast<int64_t>(y.size())));
}

template <typename T>
bool Ordered(TemplateOp op, const T& a, const T& b) {
  switch (op) {
    case TemplateOp::kLt:
      return a < b;
    case TemplateOp::kLe:
      return a <= b;
    case TemplateOp::kGt:
      return a > b;
    default:
      return a >= b;
  }
}

// An integer against a double, exactly: the double is cut to an integer, its fraction decides between equals.
bool OrderedMixed(TemplateOp op, int64_t whole, double real) {
  if (std::isnan(real)) return false;
  if (real >= 0x1p63) return Ordered(op, 0, 1);
  if (real < -0x1p63) return Ordered(op, 1, 0);
  const double floor = std::floor(real);
  const auto cut = static_cast<int64_t>(floor);
  if (whole != cut) return Ordered(op, whole, cut);
  return Ordered(op, floor, real);
}

TemplateOp Mirrored(TemplateOp op) {
  switch (op) {
    case TemplateOp::kLt:
      return TemplateOp::kGt;
    case TemplateOp::kLe:
      return TemplateOp::kGe;
    case TemplateOp::kGt:
      return TemplateOp::kLt;
    default:
      return TemplateOp::kLe;
  }
}

Result<bool> Contains(TemplateInterpreter& in, const TemplateValue& container, const TemplateValue& item) {
  if (container.is_undefined()) return false;
  if (container.is_string()) {
    if (!item.is_string()) return Unsupported(TemplateOp::kIn, item, container);
    FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(container.text().size()) / 64));
    return container.text().find(item.text()) != std::string::npos;
  }
  const auto view = container.As<DictViewObject>();
  if (container.is(Kind::kDict) || (view != nullptr && view->what == DictViewObject::What::kKeys)) {
    if (!IsHashable(item)) return BadInput("a value of type {} cannot be a key", item.TypeName());
    const TemplateDict& dict = view != nullptr ? *view->dict : container.dict();
    const bool found = dict.Find(item, in.budget()) != nullptr;
    FT_RETURN_IF_ERROR(in.Step());
    return found;
  }
  if (!IsIterable(container)) return Unsupported(TemplateOp::kIn, item, container);
  FT_ASSIGN_OR_RETURN(const IteratorPtr iterator, in.Iterate(container));
  TemplateValue candidate;
  while (true) {
    FT_ASSIGN_OR_RETURN(const bool more, iterator->Next(in, &candidate));
    if (!more) return false;
    const bool equal = EqualValues(candidate, item, in.budget());
    FT_RETURN_IF_ERROR(in.Step());
    if (equal) return true;
  }
}

}  // namespace

bool Truthy(const TemplateValue& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.dict().items().empty();
    case Kind::kObject:
      if (const auto view = value.As<DictViewObject>()) return view->size() > 0;
      if (const auto range = value.As<RangeObject>()) return range->length > 0;
      return true;
  }
  return true;
}

bool HasLength(const TemplateValue& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
      return true;
    default:
      return value.As<DictViewObject>() != nullptr || value.As<RangeObject>() != nullptr ||
             value.As<LoopObject>() != nullptr;
  }
}

Result<int64_t> LengthOf(TemplateInterpreter& in, const TemplateValue& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(value.text().size()) / 64));
      return static_cast<int64_t>(CountCodePoints(value.text()));
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().items().size());
    default:
      break;
  }
  if (const auto view = value.As<DictViewObject>()) return static_cast<int64_t>(view->size());
  if (const auto range = value.As<RangeObject>()) return range->length;
  if (const auto loop = value.As<LoopObject>()) return loop->Length(in);
  return BadInput("a value of type {} has no length", value.TypeName());
}

bool IsIterable(const TemplateValue& value) {
  return (HasLength(value) && value.As<LoopObject>() == nullptr) || value.As<GeneratorObject>() != nullptr;
}

bool IsCallable(const TemplateValue& value) {
  return value.is_undefined() || value.As<MacroObject>() != nullptr || value.As<MethodObject>() != nullptr ||
         value.As<FunctionObject>() != nullptr || value.As<LoopObject>() != nullptr;
}

Result<TemplateValue> BinaryOperation(TemplateInterpreter& in, TemplateOp op, const TemplateValue& a,
                                      const TemplateValue& b) {
  if (a.is_integer() && b.is_integer()) return IntegerOperation(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return RealOperation(op, a.number(), b.number());
  if (op == TemplateOp::kMod && a.is_string()) return PercentFormat(in, a.string(), b);
  const bool joinable = a.kind() == b.kind() && (a.is_string() || a.is_sequence());
  if (op == TemplateOp::kAdd && joinable) return Join(in, a, b);
  if (op == TemplateOp::kMul) {
    if ((a.is_string() || a.is_sequence()) && b.is_integer()) return Repeat(in, a, b.integer());
    if ((b.is_string() || b.is_sequence()) && a.is_integer()) return Repeat(in, b, a.integer());
  }
  return Unsupported(op, a, b);
}

Result<TemplateValue> Negate(const TemplateValue& value) {
  if (value.is_undefined()) return BadInput("{}", value.why());
  if (value.is(Kind::kFloat)) return TemplateValue::Float(-value.number());
  if (!value.is_integer()) return BadInput("a value of type {} cannot be negated", value.TypeName());
  return IntegerOperation(TemplateOp::kSub, 0, value.integer());
}

Result<bool> Compare(TemplateInterpreter& in, TemplateOp op, const TemplateValue& a, const TemplateValue& b) {
  switch (op) {
    case TemplateOp::kEq:
    case TemplateOp::kNe: {
      const bool equal = EqualValues(a, b, in.budget());
      FT_RETURN_IF_ERROR(in.Step());  // also ends a comparison that ran out of steps
      return equal == (op == TemplateOp::kEq);
    }
    case TemplateOp::kIn:
      return Contains(in, b, a);
    case TemplateOp::kNotIn: {
      FT_ASSIGN_OR_RETURN(const bool found, Contains(in, b, a));
      return !found;
    }
    default:
      break;
  }
  if (a.is_integer() && b.is_integer()) return Ordered(op, a.integer(), b.integer());
  if (a.is_integer() && b.is(Kind::kFloat)) return OrderedMixed(op, a.integer(), b.number());
  if (a.is(Kind::kFloat) && b.is_integer()) return OrderedMixed(Mirrored(op), b.integer(), a.number());
  if (a.is_number() && b.is_number()) return Ordered(op, a.number(), b.number());
  if (a.is_string() && b.is_string()) {
    FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(std::min(a.text().size(), b.text().size())) / 64));
    return Ordered(op, a.text(), b.text());  // the order of UTF-8 bytes is that of code points
  }
  if (a.is_sequence() && a.kind() == b.kind()) return OrderSequences(in, op, a, b);
  return Unsupported(op, a, b);
}

Result<bool> LessThan(TemplateInterpreter& in, const TemplateValue& a, const TemplateValue& b) {
  return Compare(in, TemplateOp::kLt, a, b);
}

TemplateString Escaped(const TemplateString& text) {
  static constexpr std::array<std::pair<char, const char*>, 5> kEscapes = {
      {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}}};
  if (text.markup) return text;
  TextBuilder out(text.text.size() * 5);
  for (size_t i = 0; i < text.text.size(); ++i) {
    const auto* escape = std::find_if(kEscapes.begin(), kEscapes.end(),
                                      [&](const auto& entry) { return entry.first == text.text[i]; });
    if (escape == kEscapes.end()) {
      out.Append(text, i, i + 1);
    } else {
      out.Append(escape->second, !text.data.empty());
    }
  }
  TemplateString result = out.Take();
  result.markup = true;
  return result;
}

}  // namespace fusiontree::tokenizer
