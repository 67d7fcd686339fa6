// The values a chat template works on: Python's, as far as templates can see them. Containers are shared by
// reference as in Python (list.pop is seen through every name); strings are immutable and know which of their
// bytes came from data (messages, tools) rather than from the template.
#ifndef FUSIONTREE_TOKENIZER_TEMPLATE_VALUE_H_
#define FUSIONTREE_TOKENIZER_TEMPLATE_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "tokenizer/span.h"

namespace fusiontree::tokenizer {

// UTF-8. `data` is sorted, disjoint, without empty or touching spans.
struct TemplateString {
  std::string text;
  std::vector<Span> data;
  bool markup = false;  // made by |safe or |escape: `+` then escapes what is joined to it, as markupsafe does
};

// kData marks every byte as the user's; kTemplate marks none (bos_token, dates, switches).
enum class TextOrigin { kTemplate, kData };

// What one render may still spend; null pointers to it mean "unlimited" (values built by our own code).
struct TemplateBudget {
  int64_t steps = 0;
  int64_t bytes = 0;
  bool Spend(int64_t n) { return (steps -= n) >= 0; }
};

class TemplateValue;
class TemplateDict;
struct TemplateList;

// Everything that is neither a scalar nor a plain container: ranges, views, generators, macros, namespaces.
class TemplateObject {
 public:
  virtual ~TemplateObject() = default;
  virtual const char* TypeName() const = 0;  // Python's name of the type
  // Drops references to other values, so that cycles end with the render.
  virtual void Clear() {}
};

// Deeper nesting is refused: printing, comparing and destroying values recurse.
inline constexpr int kMaxTemplateValueDepth = 256;

class TemplateValue {
 public:
  enum class Kind { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kTuple, kDict, kObject };

  TemplateValue() = default;  // none
  static TemplateValue Undefined(std::string why);
  static TemplateValue Bool(bool value);
  static TemplateValue Int(int64_t value);
  static TemplateValue Float(double value);
  static TemplateValue String(std::string text, TextOrigin origin = TextOrigin::kTemplate);
  static TemplateValue String(TemplateString text);
  static TemplateValue List(std::vector<TemplateValue> items);
  static TemplateValue Tuple(std::vector<TemplateValue> items);
  static TemplateValue Dict();
  static TemplateValue Dict(std::shared_ptr<TemplateDict> dict);
  static TemplateValue Object(std::shared_ptr<TemplateObject> object);
  // Keeps the order of keys. With kData every string and key is marked, except the value of a "role" key that
  // names a usual role (see IsUsualRole), because templates build special tokens from it. Refuses invalid
  // JSON, nesting beyond kMaxTemplateValueDepth / 2 and integers beyond 64 bits.
  static base::Result<TemplateValue> FromJson(std::string_view json, TextOrigin origin);

  // Dicts only (FT_CHECK): sets `key`, keeping its place when it is there already.
  void Set(std::string key, TemplateValue value);

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is(Kind k) const { return kind() == k; }
  bool is_undefined() const { return is(Kind::kUndefined); }
  bool is_none() const { return is(Kind::kNone); }
  bool is_string() const { return is(Kind::kString); }
  bool is_integer() const { return is(Kind::kInt) || is(Kind::kBool); }  // bool is an int in Python
  bool is_number() const { return is_integer() || is(Kind::kFloat); }
  bool is_sequence() const { return is(Kind::kList) || is(Kind::kTuple); }

  // Each only for its own kind.
  const std::string& why() const { return *std::get<0>(value_).why; }
  bool boolean() const { return std::get<2>(value_); }
  int64_t integer() const { return is(Kind::kBool) ? boolean() : std::get<3>(value_); }
  double number() const { return is(Kind::kFloat) ? std::get<4>(value_) : static_cast<double>(integer()); }
  const TemplateString& string() const { return *std::get<5>(value_); }
  const std::string& text() const { return string().text; }
  const std::vector<TemplateValue>& items() const;    // list or tuple
  std::vector<TemplateValue>& mutable_items() const;  // list: shared by everyone who holds it
  TemplateList& list() const;                         // either
  const TemplateDict& dict() const { return *std::get<8>(value_); }
  const std::shared_ptr<TemplateDict>& shared_dict() const { return std::get<8>(value_); }
  const std::shared_ptr<TemplateObject>& object() const { return std::get<9>(value_); }
  template <typename T>
  std::shared_ptr<T> As() const {
    return is(Kind::kObject) ? std::dynamic_pointer_cast<T>(object()) : nullptr;
  }

  // Same object, as Python's `is` sees it (scalars by value).
  bool Same(const TemplateValue& other) const;
  int depth() const;  // 0 for scalars and objects
  const char* TypeName() const;
  // Containers are copied, strings shared: a render may pop from its lists without touching the caller's.
  TemplateValue DeepCopy() const;

 private:
  struct UndefinedTag {
    std::shared_ptr<const std::string> why;
  };
  struct TupleTag {
    std::shared_ptr<TemplateList> list;
  };
  std::variant<UndefinedTag, std::monostate, bool, int64_t, double, std::shared_ptr<const TemplateString>,
               std::shared_ptr<TemplateList>, TupleTag, std::shared_ptr<TemplateDict>,
               std::shared_ptr<TemplateObject>>
      value_{std::monostate{}};
};

struct TemplateList {
  std::vector<TemplateValue> items;
  int depth = 1;
  bool hashable =
      true;  // of a tuple: all items are (kept here because tuples may share tuples many times over)
  bool group = false;  // a tuple of |groupby: has the attributes grouper and list
};

// Insertion-ordered, keys equal as in Python (1 == 1.0 == True).
class TemplateDict {
 public:
  using Item = std::pair<TemplateValue, TemplateValue>;
  const std::vector<Item>& items() const { return items_; }
  const TemplateValue* Find(std::string_view key) const;
  // Null as well when the budget ends during the search; the caller's next step reports that.
  const TemplateValue* Find(const TemplateValue& key, TemplateBudget* budget) const;
  void Set(TemplateValue key, TemplateValue value, TemplateBudget* budget);
  int depth() const { return depth_; }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t IndexOf(const TemplateValue& key, TemplateBudget* budget) const;
  size_t IndexOfText(std::string_view key) const;
  std::vector<Item> items_;
  std::unordered_multimap<size_t, size_t> index_;  // hash of the key -> place in items_
  int depth_ = 1;
};

// Lists, dicts and what holds them cannot be keys.
bool IsHashable(const TemplateValue& value);
size_t HashValue(const TemplateValue& value, TemplateBudget* budget);
// Python's ==. False when the budget ends.
bool EqualValues(const TemplateValue& a, const TemplateValue& b, TemplateBudget* budget);
// "system", "user", "assistant", "tool" and the like.
bool IsUsualRole(std::string_view role);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_TEMPLATE_VALUE_H_
