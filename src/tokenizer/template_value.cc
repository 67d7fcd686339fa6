#include "tokenizer/template_value.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "base/check.h"

namespace fusiontree::tokenizer {
namespace {

using Kind = TemplateValue::Kind;

int DepthOf(const std::vector<TemplateValue>& items) {
  int depth = 0;
  for (const TemplateValue& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

size_t HashText(std::string_view text) { return std::hash<std::string_view>{}(text); }

bool Spend(TemplateBudget* budget, int64_t n) { return budget == nullptr || budget->Spend(n); }

bool EqualNumbers(const TemplateValue& a, const TemplateValue& b) {
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is(Kind::kFloat) && b.is(Kind::kFloat)) return a.number() == b.number();
  const double real = a.is(Kind::kFloat) ? a.number() : b.number();
  const int64_t whole = a.is(Kind::kFloat) ? b.integer() : a.integer();
  // Exact, as Python compares them: a double beyond 2^63 equals no int64, and one below converts exactly.
  return real >= -0x1p63 && real < 0x1p63 && real == std::floor(real) && static_cast<int64_t>(real) == whole;
}

}  // namespace

TemplateValue TemplateValue::Undefined(std::string why) {
  TemplateValue v;
  v.value_.emplace<0>(UndefinedTag{std::make_shared<const std::string>(std::move(why))});
  return v;
}
TemplateValue TemplateValue::Bool(bool value) {
  TemplateValue v;
  v.value_.emplace<2>(value);
  return v;
}
TemplateValue TemplateValue::Int(int64_t value) {
  TemplateValue v;
  v.value_.emplace<3>(value);
  return v;
}
TemplateValue TemplateValue::Float(double value) {
  TemplateValue v;
  v.value_.emplace<4>(value);
  return v;
}
TemplateValue TemplateValue::String(std::string text, TextOrigin origin) {
  TemplateString s;
  if (origin == TextOrigin::kData && !text.empty()) s.data.push_back({0, text.size()});
  s.text = std::move(text);
  return String(std::move(s));
}
TemplateValue TemplateValue::String(TemplateString text) {
  TemplateValue v;
  v.value_.emplace<5>(std::make_shared<const TemplateString>(std::move(text)));
  return v;
}
TemplateValue TemplateValue::List(std::vector<TemplateValue> items) {
  TemplateValue v;
  auto list = std::make_shared<TemplateList>();
  list->depth = DepthOf(items);
  list->items = std::move(items);
  v.value_.emplace<6>(std::move(list));
  return v;
}
TemplateValue TemplateValue::Tuple(std::vector<TemplateValue> items) {
  TemplateValue v;
  auto list = std::make_shared<TemplateList>();
  list->depth = DepthOf(items);
  list->hashable = std::all_of(items.begin(), items.end(), IsHashable);
  list->items = std::move(items);
  v.value_.emplace<7>(TupleTag{std::move(list)});
  return v;
}
TemplateValue TemplateValue::Dict() { return Dict(std::make_shared<TemplateDict>()); }
TemplateValue TemplateValue::Dict(std::shared_ptr<TemplateDict> dict) {
  TemplateValue v;
  v.value_.emplace<8>(std::move(dict));
  return v;
}
TemplateValue TemplateValue::Object(std::shared_ptr<TemplateObject> object) {
  TemplateValue v;
  v.value_.emplace<9>(std::move(object));
  return v;
}

void TemplateValue::Set(std::string key, TemplateValue value) {
  FT_CHECK(is(Kind::kDict));
  shared_dict()->Set(String(std::move(key)), std::move(value), nullptr);
}

const std::vector<TemplateValue>& TemplateValue::items() const { return mutable_items(); }

std::vector<TemplateValue>& TemplateValue::mutable_items() const { return list().items; }

TemplateList& TemplateValue::list() const {
  return is(Kind::kTuple) ? *std::get<7>(value_).list : *std::get<6>(value_);
}

bool TemplateValue::Same(const TemplateValue& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::kUndefined:
      return std::get<0>(value_).why == std::get<0>(other.value_).why;
    case Kind::kNone:
      return true;
    case Kind::kBool:
      return boolean() == other.boolean();
    case Kind::kInt:
      return integer() == other.integer();
    case Kind::kFloat:
      return number() == other.number();
    case Kind::kString:
      return text() == other.text();
    case Kind::kList:
      return std::get<6>(value_) == std::get<6>(other.value_);
    case Kind::kTuple:
      return std::get<7>(value_).list == std::get<7>(other.value_).list;
    case Kind::kDict:
      return shared_dict() == other.shared_dict();
    case Kind::kObject:
      return object() == other.object();
  }
  return false;
}

int TemplateValue::depth() const {
  switch (kind()) {
    case Kind::kList:
      return std::get<6>(value_)->depth;
    case Kind::kTuple:
      return std::get<7>(value_).list->depth;
    case Kind::kDict:
      return dict().depth();
    default:
      return 0;
  }
}

const char* TemplateValue::TypeName() const {
  static constexpr std::array kNames = {"Undefined", "NoneType", "bool",  "int",  "float",
                                        "str",       "list",     "tuple", "dict", "object"};
  return is(Kind::kObject) ? object()->TypeName() : kNames[value_.index()];
}

TemplateValue TemplateValue::DeepCopy() const {
  if (is_sequence()) {
    std::vector<TemplateValue> copy;
    copy.reserve(items().size());
    for (const TemplateValue& item : items()) copy.push_back(item.DeepCopy());
    return is(Kind::kList) ? List(std::move(copy)) : Tuple(std::move(copy));
  }
  if (is(Kind::kDict)) {
    auto copy = std::make_shared<TemplateDict>();
    for (const auto& [key, value] : dict().items()) copy->Set(key, value.DeepCopy(), nullptr);
    return Dict(std::move(copy));
  }
  return *this;
}

size_t TemplateDict::IndexOfText(std::string_view key) const {
  if (index_.empty()) {
    for (size_t i = 0; i < items_.size(); ++i) {
      if (items_[i].first.is_string() && items_[i].first.text() == key) return i;
    }
    return kNone;
  }
  auto [first, last] = index_.equal_range(HashText(key));
  for (; first != last; ++first) {
    const TemplateValue& candidate = items_[first->second].first;
    if (candidate.is_string() && candidate.text() == key) return first->second;
  }
  return kNone;
}

size_t TemplateDict::IndexOf(const TemplateValue& key, TemplateBudget* budget) const {
  if (key.is_string()) return IndexOfText(key.text());
  if (index_.empty()) {
    for (size_t i = 0; i < items_.size(); ++i) {
      if (EqualValues(items_[i].first, key, budget)) return i;
    }
    return kNone;
  }
  auto [first, last] = index_.equal_range(HashValue(key, budget));
  for (; first != last; ++first) {
    if (EqualValues(items_[first->second].first, key, budget)) return first->second;
  }
  return kNone;
}

const TemplateValue* TemplateDict::Find(std::string_view key) const {
  const size_t i = IndexOfText(key);
  return i == kNone ? nullptr : &items_[i].second;
}

const TemplateValue* TemplateDict::Find(const TemplateValue& key, TemplateBudget* budget) const {
  const size_t i = IndexOf(key, budget);
  return i == kNone ? nullptr : &items_[i].second;
}

void TemplateDict::Set(TemplateValue key, TemplateValue value, TemplateBudget* budget) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  const size_t i = IndexOf(key, budget);
  if (i != kNone) {
    items_[i].second = std::move(value);
    return;
  }
  items_.emplace_back(std::move(key), std::move(value));
  constexpr size_t kScanned = 8;  // up to here a scan is cheaper than hashing
  if (items_.size() == kScanned + 1) {
    for (size_t k = 0; k < items_.size(); ++k) index_.emplace(HashValue(items_[k].first, budget), k);
  } else if (items_.size() > kScanned) {
    index_.emplace(HashValue(items_.back().first, budget), items_.size() - 1);
  }
}

bool IsHashable(const TemplateValue& value) {
  if (value.is(Kind::kTuple)) return value.list().hashable;
  return !value.is(Kind::kList) && !value.is(Kind::kDict);
}

size_t HashValue(const TemplateValue& value, TemplateBudget* budget) {
  if (!Spend(budget, 1)) return 0;
  switch (value.kind()) {
    case Kind::kString:
      return HashText(value.text());
    case Kind::kBool:
    case Kind::kInt:
      return std::hash<double>{}(static_cast<double>(value.integer()));
    case Kind::kFloat:
      return std::hash<double>{}(value.number());
    case Kind::kTuple: {
      size_t hash = 7;
      for (const TemplateValue& item : value.items()) hash = hash * 31 + HashValue(item, budget);
      return hash;
    }
    case Kind::kObject:
      return std::hash<const void*>{}(value.object().get());
    default:
      return value.is_none() ? 1 : 2;
  }
}

bool EqualValues(const TemplateValue& a, const TemplateValue& b, TemplateBudget* budget) {
  if (!Spend(budget, 1)) return false;
  if (a.is_number() && b.is_number()) return EqualNumbers(a, b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
      return true;
    case Kind::kString:
      return a.text().size() == b.text().size() &&
             Spend(budget, static_cast<int64_t>(a.text().size()) / 64) && a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple: {
      const auto& x = a.items();
      const auto& y = b.items();
      if (x.size() != y.size()) return false;
      for (size_t i = 0; i < x.size(); ++i) {
        if (!EqualValues(x[i], y[i], budget)) return false;
      }
      return true;
    }
    case Kind::kDict: {
      if (a.dict().items().size() != b.dict().items().size()) return false;
      for (const auto& [key, value] : a.dict().items()) {
        const TemplateValue* other = b.dict().Find(key, budget);
        if (other == nullptr || !EqualValues(value, *other, budget)) return false;
      }
      return true;
    }
    default:
      return a.Same(b);
  }
}

bool IsUsualRole(std::string_view role) {
  static constexpr std::array<std::string_view, 12> kRoles = {
      "system", "user",    "assistant", "tool",        "developer",     "function",
      "model",  "ipython", "chatbot",   "observation", "tool_response", "environment"};
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

}  // namespace fusiontree::tokenizer
