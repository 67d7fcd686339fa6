// json.dumps as Transformers' tojson filter calls it.
#include <algorithm>
#include <cmath>
#include <utility>

#include "tokenizer/template_operators.h"

namespace fusiontree::tokenizer {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;
using Kind = TemplateValue::Kind;

namespace {

class JsonWriter {
 public:
  JsonWriter(TemplateInterpreter& in, const JsonStyle& style, TextBuilder* out)
      : in_(in), style_(style), out_(out) {}

  // Recursion is bounded by kMaxTemplateValueDepth: only lists, tuples and dicts are written.
  Status Write(const TemplateValue& value) {
    FT_RETURN_IF_ERROR(in_.Step());
    if (out_->full()) return BadInput("the JSON text is longer than allowed");
    switch (value.kind()) {
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
        out_->Append(Scalar(value));
        return OkStatus();
      case Kind::kString:
        return WriteText(value.string());
      case Kind::kList:
      case Kind::kTuple:
        return WriteList(value.items());
      case Kind::kDict:
        return WriteDict(value.dict());
      case Kind::kUndefined:
        return BadInput("tojson cannot write an undefined value: {}", value.why());
      case Kind::kObject:
        break;
    }
    return BadInput("tojson cannot write a value of type {}", value.TypeName());
  }

 private:
  static std::string Scalar(const TemplateValue& value) {
    if (value.is_none()) return "null";
    if (value.is(Kind::kBool)) return value.boolean() ? "true" : "false";
    if (value.is(Kind::kInt)) return fmt::format("{}", value.integer());
    const double real = value.number();
    return std::isnan(real)   ? "NaN"
           : std::isinf(real) ? (real < 0 ? "-Infinity" : "Infinity")
                              : FloatRepr(real);
  }

  Status WriteText(const TemplateString& s) {
    FT_RETURN_IF_ERROR(in_.Step(static_cast<int64_t>(s.text.size()) / 16));
    const bool data = !s.data.empty();
    out_->Append("\"");
    size_t plain = 0;
    for (size_t at = 0; at < s.text.size();) {
      const CodePoint c = DecodeAt(s.text, at);
      const std::string escape = Escape(c.value);
      if (!escape.empty()) {
        out_->Append(s, plain, at);
        out_->Append(escape, data);
        plain = at + c.size;
      }
      at += c.size;
    }
    out_->Append(s, plain, s.text.size());
    out_->Append("\"");
    return OkStatus();
  }

  std::string Escape(uint32_t cp) const {
    switch (cp) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\f':
        return "\\f";
      case '\b':
        return "\\b";
      default:
        break;
    }
    if (cp < 0x20 || (style_.ensure_ascii && cp > 0x7E && cp < 0x10000)) return fmt::format("\\u{:04x}", cp);
    if (!style_.ensure_ascii || cp < 0x10000) return "";
    const uint32_t rest = cp - 0x10000;
    return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
  }

  void NewLine() {
    if (!style_.indent.has_value()) return;
    out_->Append("\n");
    for (int i = 0; i < level_; ++i) out_->Append(*style_.indent);
  }

  Status WriteList(const std::vector<TemplateValue>& items) {
    if (items.empty()) {
      out_->Append("[]");
      return OkStatus();
    }
    out_->Append("[");
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_->Append(style_.item_separator);
      NewLine();
      FT_RETURN_IF_ERROR(Write(items[i]));
    }
    --level_;
    NewLine();
    out_->Append("]");
    return OkStatus();
  }

  Status SortKeys(std::vector<const TemplateDict::Item*>* items) {
    Status problem;
    std::stable_sort(items->begin(), items->end(), [&](const auto* a, const auto* b) {
      if (!problem.ok()) return false;
      const Result<bool> less = LessThan(in_, a->first, b->first);
      if (!less.ok()) problem = less.status();
      return less.ok() && *less;
    });
    return problem;
  }

  Status WriteDict(const TemplateDict& dict) {
    if (dict.items().empty()) {
      out_->Append("{}");
      return OkStatus();
    }
    std::vector<const TemplateDict::Item*> items;
    for (const TemplateDict::Item& item : dict.items()) items.push_back(&item);
    if (style_.sort_keys) FT_RETURN_IF_ERROR(SortKeys(&items));
    out_->Append("{");
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_->Append(style_.item_separator);
      NewLine();
      const TemplateValue& key = items[i]->first;
      if (key.is_string()) {
        FT_RETURN_IF_ERROR(WriteText(key.string()));
      } else if (key.is_none() || key.is_number()) {
        out_->Append("\"" + Scalar(key) + "\"");
      } else {
        return BadInput("tojson cannot write a key of type {}", key.TypeName());
      }
      out_->Append(style_.key_separator);
      FT_RETURN_IF_ERROR(Write(items[i]->second));
    }
    --level_;
    NewLine();
    out_->Append("}");
    return OkStatus();
  }

  TemplateInterpreter& in_;
  const JsonStyle& style_;
  TextBuilder* out_;
  int level_ = 0;
};

}  // namespace

Result<TemplateValue> ToJson(TemplateInterpreter& in, const TemplateValue& value, const JsonStyle& style) {
  TextBuilder text = in.NewText();
  FT_RETURN_IF_ERROR(JsonWriter(in, style, &text).Write(value));
  return in.MakeString(&text);
}

}  // namespace fusiontree::tokenizer
