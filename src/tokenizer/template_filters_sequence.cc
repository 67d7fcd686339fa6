// Filters on sequences and mappings that give their result at once.
#include <algorithm>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_filters.h"
#include "tokenizer/template_methods.h"
#include "tokenizer/template_named.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

using In = TemplateInterpreter;
using Args = CallArguments;
using Values = std::vector<TemplateValue>;

struct Keyed {
  TemplateValue key;
  TemplateValue item;
};

// A stable sort by key. The comparison keeps its first error; std::stable_sort merges, so an inconsistent
// order (after an error, or with NaN) only leaves some order.
Status SortByKey(In& in, std::vector<Keyed>* items, bool reverse) {
  Status problem;
  const auto less = [&](const Keyed& a, const Keyed& b) {
    if (!problem.ok()) return false;
    const Result<bool> result = reverse ? LessThan(in, b.key, a.key) : LessThan(in, a.key, b.key);
    if (!result.ok()) {
      problem = result.status();
    } else {
      problem = in.Step();
    }
    return result.ok() && *result;
  };
  std::stable_sort(items->begin(), items->end(), less);
  return problem;
}

Values ItemsOf(std::vector<Keyed> keyed) {
  Values items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return items;
}

Result<TemplateValue> Length(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'length'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(const int64_t length, LengthOf(in, value));
  return TemplateValue::Int(length);
}

Result<TemplateValue> List(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'list'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(Values items, in.Collect(value));
  return in.MakeList(std::move(items));
}

Result<TemplateValue> First(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'first'", arguments, {}).status());
  FT_ASSIGN_OR_RETURN(const IteratorPtr iterator, in.Iterate(value));
  TemplateValue item;
  FT_ASSIGN_OR_RETURN(const bool found, iterator->Next(in, &item));
  return found ? item : TemplateValue::Undefined("there is no first item, the sequence was empty");
}

Result<TemplateValue> Last(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'last'", arguments, {}).status());
  if (!HasLength(value) || value.As<LoopObject>() != nullptr) {
    return BadInput("the filter 'last' needs a sequence, not a value of type {}", value.TypeName());
  }
  FT_ASSIGN_OR_RETURN(Values items, in.Collect(value));
  return items.empty() ? TemplateValue::Undefined("there is no last item, the sequence was empty")
                       : items.back();
}

Result<TemplateValue> Default(In&, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'default'", arguments, {"default_value", "boolean"}));
  if (!value.is_undefined() && !(args.Flag(1) && !Truthy(value))) return value;
  return args.Has(0) ? *args[0] : TemplateValue::String("");
}

Result<TemplateValue> Join(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'join'", arguments, {"d", "attribute"}));
  TemplateString separator;
  if (args.Has(0)) {
    FT_ASSIGN_OR_RETURN(separator, Str(in, *args[0]));
  }
  FT_ASSIGN_OR_RETURN(const IteratorPtr iterator, in.Iterate(value));
  TextBuilder out = in.NewText();
  TemplateValue item;
  for (bool first = true;; first = false) {
    FT_ASSIGN_OR_RETURN(const bool more, iterator->Next(in, &item));
    if (!more || out.full()) return in.MakeString(&out);
    FT_RETURN_IF_ERROR(in.Step());
    if (args.HasValue(1)) {
      FT_ASSIGN_OR_RETURN(item, FollowPath(in, std::move(item), args[1], nullptr, false));
    }
    if (!first) out.Append(separator);
    FT_RETURN_IF_ERROR(AppendStr(in, item, &out));
  }
}

Result<TemplateValue> Sort(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(
      const BoundArguments args,
      BoundArguments::Bind("the filter 'sort'", arguments, {"reverse", "case_sensitive", "attribute"}));
  // "a,b" sorts by several attributes.
  Values paths;
  if (args.HasValue(2) && args[2]->is_string()) {
    const std::string& text = args[2]->text();
    for (size_t at = 0; at <= text.size();) {
      const size_t comma = std::min(text.find(',', at), text.size());
      paths.push_back(TemplateValue::String(text.substr(at, comma - at)));
      at = comma + 1;
    }
  } else {
    paths.push_back(args.Has(2) ? *args[2] : TemplateValue());
  }
  FT_ASSIGN_OR_RETURN(const Values items, in.Collect(value));
  std::vector<Keyed> keyed;
  for (const TemplateValue& item : items) {
    Values key;
    for (const TemplateValue& path : paths) {
      FT_ASSIGN_OR_RETURN(TemplateValue part, FollowPath(in, item, &path, nullptr, !args.Flag(1)));
      key.push_back(std::move(part));
    }
    keyed.push_back({TemplateValue::List(std::move(key)), item});
  }
  FT_RETURN_IF_ERROR(SortByKey(in, &keyed, args.Flag(0)));
  return in.MakeList(ItemsOf(std::move(keyed)));
}

Result<TemplateValue> DictSort(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("the filter 'dictsort'", arguments,
                                                                      {"case_sensitive", "by", "reverse"}));
  FT_ASSIGN_OR_RETURN(const TemplateString by, args.Text(1, "key"));
  if (by.text != "key" && by.text != "value") return BadInput("dictsort sorts by 'key' or by 'value'");
  if (value.is_undefined()) return BadInput("{}", value.why());
  if (!value.is(Kind::kDict)) return BadInput("the filter 'dictsort' needs a dict, not {}", value.TypeName());
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.dict().items()) {
    FT_ASSIGN_OR_RETURN(TemplateValue pair, in.MakeTuple({key, item}));
    FT_ASSIGN_OR_RETURN(TemplateValue sorted_by,
                        FollowPath(in, by.text == "key" ? key : item, nullptr, nullptr, !args.Flag(0)));
    keyed.push_back({std::move(sorted_by), std::move(pair)});
  }
  FT_RETURN_IF_ERROR(SortByKey(in, &keyed, args.Flag(2)));
  return in.MakeList(ItemsOf(std::move(keyed)));
}

template <bool kMax>
Result<TemplateValue> MinOrMax(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args, BoundArguments::Bind("the filter 'min' or 'max'", arguments,
                                                                      {"case_sensitive", "attribute"}));
  FT_ASSIGN_OR_RETURN(const Values items, in.Collect(value));
  if (items.empty())
    return TemplateValue::Undefined("there is no smallest or largest item, the sequence was empty");
  size_t best = 0;
  TemplateValue best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    FT_ASSIGN_OR_RETURN(TemplateValue key, FollowPath(in, items[i], args[1], nullptr, !args.Flag(0)));
    bool better = i == 0;
    if (i > 0) {
      FT_ASSIGN_OR_RETURN(better, kMax ? LessThan(in, best_key, key) : LessThan(in, key, best_key));
    }
    if (better) {
      best = i;
      best_key = std::move(key);
    }
  }
  return items[best];
}

Result<TemplateValue> GroupBy(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(
      const BoundArguments args,
      BoundArguments::Bind("the filter 'groupby'", arguments, {"attribute", "default", "case_sensitive"}, 1));
  const TemplateValue* otherwise = args.HasValue(1) ? args[1] : nullptr;
  const bool fold = !args.Flag(2);
  FT_ASSIGN_OR_RETURN(const Values items, in.Collect(value));
  std::vector<Keyed> keyed;
  for (const TemplateValue& item : items) {
    FT_ASSIGN_OR_RETURN(TemplateValue key, FollowPath(in, item, args[0], otherwise, fold));
    keyed.push_back({std::move(key), item});
  }
  FT_RETURN_IF_ERROR(SortByKey(in, &keyed, false));
  Values groups;
  for (size_t begin = 0, end = 0; begin < keyed.size(); begin = end) {
    Values members;
    for (end = begin; end < keyed.size() && EqualValues(keyed[begin].key, keyed[end].key, in.budget());
         ++end) {
      members.push_back(keyed[end].item);
    }
    FT_RETURN_IF_ERROR(in.Step());
    end = std::max(end, begin + 1);  // NaN equals not even itself
    FT_ASSIGN_OR_RETURN(TemplateValue name, FollowPath(in, keyed[begin].item, args[0], otherwise, false));
    FT_ASSIGN_OR_RETURN(TemplateValue list, in.MakeList(std::move(members)));
    FT_ASSIGN_OR_RETURN(TemplateValue group, in.MakeTuple({std::move(name), std::move(list)}));
    group.list().group = true;
    groups.push_back(std::move(group));
  }
  return in.MakeList(std::move(groups));
}

Result<TemplateValue> Sum(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'sum'", arguments, {"attribute", "start"}));
  TemplateValue sum = args.Has(1) ? *args[1] : TemplateValue::Int(0);
  if (sum.is_string()) return BadInput("the filter 'sum' does not add strings");
  FT_ASSIGN_OR_RETURN(const Values items, in.Collect(value));
  for (const TemplateValue& item : items) {
    FT_ASSIGN_OR_RETURN(const TemplateValue part, FollowPath(in, item, args[0], nullptr, false));
    FT_ASSIGN_OR_RETURN(sum, BinaryOperation(in, TemplateOp::kAdd, sum, part));
  }
  return sum;
}

Result<TemplateValue> Attr(In& in, const TemplateValue& value, const Args& arguments) {
  FT_ASSIGN_OR_RETURN(const BoundArguments args,
                      BoundArguments::Bind("the filter 'attr'", arguments, {"name"}, 1));
  FT_ASSIGN_OR_RETURN(const TemplateString name, args.Text(0, ""));
  if (name.text.empty()) return TemplateValue::Undefined("there is no attribute without a name");
  // Only real attributes: a dict's items are none.
  if (value.is(Kind::kDict) && !HasMethod(value, name.text)) {
    return TemplateValue::Undefined("a dict has no attribute '" + name.text + "'");
  }
  return in.GetAttribute(value, name.text);
}

constexpr Named<TemplateFilter> kFilters[] = {
    {"length", Length},   {"count", Length}, {"list", List},          {"first", First},
    {"last", Last},       {"d", Default},    {"default", Default},    {"join", Join},
    {"sort", Sort},       {"sum", Sum},      {"dictsort", DictSort},  {"min", MinOrMax<false>},
    {"groupby", GroupBy}, {"attr", Attr},    {"max", MinOrMax<true>},
};

}  // namespace

Result<TemplateValue> FollowPath(TemplateInterpreter& in, TemplateValue item, const TemplateValue* path,
                                 const TemplateValue* otherwise, bool fold) {
  const auto step = [&](const TemplateValue& key) -> Status {
    FT_ASSIGN_OR_RETURN(item, in.GetItem(item, key));
    if (otherwise != nullptr && item.is_undefined()) item = *otherwise;
    return base::OkStatus();
  };
  if (path != nullptr && path->is_string()) {
    const std::string& text = path->text();
    for (size_t at = 0; at <= text.size();) {
      const size_t dot = std::min(text.find('.', at), text.size());
      const std::string part = text.substr(at, dot - at);
      const bool number =
          !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == std::string::npos;
      FT_RETURN_IF_ERROR(step(number ? TemplateValue::Int(std::stoll(part)) : TemplateValue::String(part)));
      at = dot + 1;
    }
  } else if (path != nullptr && !path->is_none()) {
    FT_RETURN_IF_ERROR(step(*path));
  }
  if (!fold || !item.is_string()) return item;
  FT_RETURN_IF_ERROR(in.Step(static_cast<int64_t>(item.text().size()) / 16));
  return in.MakeString(Derived(Lower(item.text()), item.string()));
}

TemplateFilter FindSequenceFilter(std::string_view name) { return FindNamed(kFilters, name); }

}  // namespace fusiontree::tokenizer
