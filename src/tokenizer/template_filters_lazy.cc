// Filters that give a generator: their work happens when the items are asked for, once.
#include <algorithm>
#include <utility>

#include "tokenizer/template_arguments.h"
#include "tokenizer/template_filters.h"
#include "tokenizer/template_named.h"
#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {
namespace {

using base::BadInput;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;
using In = TemplateInterpreter;
using Args = CallArguments;
using Values = std::vector<TemplateValue>;

// Opens its source at the first item, as a Python generator does: an error in the arguments of a filter that
// nobody iterates stays unseen.
class LazyIterator : public TemplateIterator {
 public:
  LazyIterator(TemplateValue source, Args arguments)
      : source_(std::move(source)), args_(std::move(arguments)) {}
  Result<bool> Next(In& in, TemplateValue* item) final {
    if (iterator_ == nullptr) {
      if (SkipsFalse() && !Truthy(source_)) return false;
      FT_RETURN_IF_ERROR(Prepare(in));
      FT_ASSIGN_OR_RETURN(iterator_, in.Iterate(source_));
    }
    FT_RETURN_IF_ERROR(in.Step());
    return Produce(in, item);
  }

 protected:
  // `none|selectattr(...)` is empty, not an error, and looks at no argument.
  virtual bool SkipsFalse() const { return false; }
  virtual Status Prepare(In&) { return base::OkStatus(); }
  virtual Result<bool> Produce(In& in, TemplateValue* item) = 0;
  const TemplateValue& source() const { return source_; }
  TemplateIterator& iterator() { return *iterator_; }
  Args& args() { return args_; }

 private:
  TemplateValue source_;
  Args args_;
  IteratorPtr iterator_;
};

class MapIterator : public LazyIterator {
 public:
  using LazyIterator::LazyIterator;

 protected:
  bool SkipsFalse() const override { return true; }
  Status Prepare(In&) override {
    if (args().positional.empty()) {
      for (auto& [name, value] : args().named) {
        if (name == "attribute") {
          path_ = value;
        } else if (name == "default") {
          if (!value.is_none()) otherwise_ = value;
        } else {
          return BadInput("the filter 'map' has no argument named '{}'", name);
        }
      }
      if (!path_.has_value()) return BadInput("the filter 'map' needs a filter's name or an attribute");
      return base::OkStatus();
    }
    if (!args().positional[0].is_string())
      return BadInput("the filter 'map' needs a filter's name as a string");
    filter_ = args().positional[0].text();
    args().positional.erase(args().positional.begin());
    return base::OkStatus();
  }

  Result<bool> Produce(In& in, TemplateValue* item) override {
    FT_ASSIGN_OR_RETURN(const bool more, iterator().Next(in, item));
    if (!more) return false;
    if (path_.has_value()) {
      FT_ASSIGN_OR_RETURN(*item, FollowPath(in, *item, &*path_, otherwise_ ? &*otherwise_ : nullptr, false));
    } else {
      FT_ASSIGN_OR_RETURN(*item, in.ApplyFilter(filter_, *item, args()));
    }
    return true;
  }

 private:
  std::optional<TemplateValue> path_;
  std::optional<TemplateValue> otherwise_;
  std::string filter_;
};

// select, reject, selectattr, rejectattr
template <bool kKeep, bool kAttribute>
class SelectIterator : public LazyIterator {
 public:
  using LazyIterator::LazyIterator;

 protected:
  bool SkipsFalse() const override { return true; }
  Status Prepare(In&) override {
    Values& given = args().positional;
    if (kAttribute) {
      if (given.empty()) return BadInput("selectattr and rejectattr need an attribute's name");
      path_ = given[0];
      given.erase(given.begin());
    }
    if (!given.empty()) {
      if (!given[0].is_string())
        return BadInput("a test is given by its name as a string, not {}", given[0].TypeName());
      test_ = given[0].text();
      given.erase(given.begin());
    }
    return base::OkStatus();
  }

  Result<bool> Produce(In& in, TemplateValue* item) override {
    while (true) {
      FT_ASSIGN_OR_RETURN(const bool more, iterator().Next(in, item));
      if (!more) return false;
      TemplateValue tested = *item;
      if (kAttribute) {
        FT_ASSIGN_OR_RETURN(tested, FollowPath(in, std::move(tested), &path_, nullptr, false));
      }
      bool holds = false;
      if (test_.has_value()) {
        FT_ASSIGN_OR_RETURN(holds, in.ApplyTest(*test_, tested, args()));
      } else {
        holds = Truthy(tested);
      }
      FT_RETURN_IF_ERROR(in.Step());
      if (holds == kKeep) return true;
    }
  }

 private:
  TemplateValue path_;
  std::optional<std::string> test_;
};

class UniqueIterator : public LazyIterator {
 public:
  using LazyIterator::LazyIterator;

 protected:
  Result<bool> Produce(In& in, TemplateValue* item) override {
    FT_ASSIGN_OR_RETURN(const BoundArguments bound,
                        BoundArguments::Bind("the filter 'unique'", args(), {"case_sensitive", "attribute"}));
    while (true) {
      FT_ASSIGN_OR_RETURN(const bool more, iterator().Next(in, item));
      if (!more) return false;
      FT_ASSIGN_OR_RETURN(TemplateValue key, FollowPath(in, *item, bound[1], nullptr, !bound.Flag(0)));
      if (!IsHashable(key))
        return BadInput("the filter 'unique' cannot compare values of type {}", key.TypeName());
      const bool seen = seen_.Find(key, in.budget()) != nullptr;
      FT_RETURN_IF_ERROR(in.SetItem(&seen_, std::move(key), TemplateValue()));
      FT_RETURN_IF_ERROR(in.SpendBytes(128));
      if (!seen) return true;
    }
  }

 private:
  TemplateDict seen_;
};

class ItemsIterator : public LazyIterator {
 public:
  using LazyIterator::LazyIterator;

 protected:
  Status Prepare(In&) override {
    if (source().is_undefined() || source().is(Kind::kDict)) return base::OkStatus();
    return BadInput("the filter 'items' needs a dict, not a value of type {}", source().TypeName());
  }
  Result<bool> Produce(In& in, TemplateValue* item) override {
    FT_ASSIGN_OR_RETURN(const bool more, iterator().Next(in, item));
    if (!more) return false;
    const TemplateValue key = *item;
    FT_ASSIGN_OR_RETURN(*item, in.MakeTuple({key, *source().dict().Find(key, in.budget())}));
    return true;
  }
};

class BatchIterator : public LazyIterator {
 public:
  using LazyIterator::LazyIterator;

 protected:
  Result<bool> Produce(In& in, TemplateValue* item) override {
    FT_ASSIGN_OR_RETURN(const BoundArguments bound,
                        BoundArguments::Bind("the filter 'batch'", args(), {"linecount", "fill_with"}, 1));
    FT_ASSIGN_OR_RETURN(const int64_t size, bound.Integer(0, 0));
    Values batch;
    while (size < 1 || static_cast<int64_t>(batch.size()) < size) {
      TemplateValue next;
      FT_ASSIGN_OR_RETURN(const bool more, iterator().Next(in, &next));
      if (!more) break;
      FT_RETURN_IF_ERROR(in.Step());
      batch.push_back(std::move(next));
    }
    if (batch.empty()) return false;
    while (bound.HasValue(1) && static_cast<int64_t>(batch.size()) < size) {
      FT_RETURN_IF_ERROR(in.SpendBytes(sizeof(TemplateValue)));
      FT_RETURN_IF_ERROR(in.Step());
      batch.push_back(*bound[1]);
    }
    FT_ASSIGN_OR_RETURN(*item, in.MakeList(std::move(batch)));
    return true;
  }
};

class SliceIterator : public LazyIterator {
 public:
  using LazyIterator::LazyIterator;

 protected:
  Result<bool> Produce(In& in, TemplateValue* item) override {
    FT_ASSIGN_OR_RETURN(const BoundArguments bound,
                        BoundArguments::Bind("the filter 'slice'", args(), {"slices", "fill_with"}, 1));
    FT_ASSIGN_OR_RETURN(const int64_t slices, bound.Integer(0, 1));
    if (slices == 0) return BadInput("the filter 'slice' cannot make zero slices");
    if (at_ == 0) {
      FT_ASSIGN_OR_RETURN(items_, in.Collect(source()));
    }
    if (at_ >= slices) return false;
    const auto count = static_cast<int64_t>(items_.size());
    const int64_t extra = count % slices;
    const int64_t begin = at_ * (count / slices) + std::min(at_, extra);
    const int64_t end = begin + count / slices + (at_ < extra);
    Values slice(items_.begin() + begin, items_.begin() + end);
    if (bound.HasValue(1) && at_ >= extra) slice.push_back(*bound[1]);
    ++at_;
    FT_ASSIGN_OR_RETURN(*item, in.MakeList(std::move(slice)));
    return true;
  }

 private:
  int64_t at_ = 0;
  Values items_;
};

template <typename Iterator>
Result<TemplateValue> Lazy(In& in, const TemplateValue& value, const Args& arguments) {
  return in.MakeGenerator(std::make_unique<Iterator>(value, arguments), value);
}

class GivenIterator : public TemplateIterator {
 public:
  explicit GivenIterator(Values items) : items_(std::move(items)) {}
  Result<bool> Next(In&, TemplateValue* item) override {
    if (at_ == items_.size()) return false;
    *item = items_[at_++];
    return true;
  }

 private:
  Values items_;
  size_t at_ = 0;
};

// A string reversed, a list for what cannot be walked backwards, otherwise an iterator.
Result<TemplateValue> Reverse(In& in, const TemplateValue& value, const Args& arguments) {
  FT_RETURN_IF_ERROR(BoundArguments::Bind("the filter 'reverse'", arguments, {}).status());
  if (value.is_string()) {
    TemplateValue bounds[3];
    bounds[2] = TemplateValue::Int(-1);
    return in.GetSlice(value, bounds);
  }
  FT_ASSIGN_OR_RETURN(Values items, in.Collect(value));
  std::reverse(items.begin(), items.end());
  if (!HasLength(value)) return in.MakeList(std::move(items));
  return in.MakeGenerator(std::make_unique<GivenIterator>(std::move(items)), value);
}

constexpr Named<TemplateFilter> kFilters[] = {
    {"map", Lazy<MapIterator>},
    {"select", Lazy<SelectIterator<true, false>>},
    {"reject", Lazy<SelectIterator<false, false>>},
    {"selectattr", Lazy<SelectIterator<true, true>>},
    {"rejectattr", Lazy<SelectIterator<false, true>>},
    {"unique", Lazy<UniqueIterator>},
    {"items", Lazy<ItemsIterator>},
    {"batch", Lazy<BatchIterator>},
    {"slice", Lazy<SliceIterator>},
    {"reverse", Reverse},
};

}  // namespace

TemplateFilter FindLazyFilter(std::string_view name) { return FindNamed(kFilters, name); }

}  // namespace fusiontree::tokenizer
