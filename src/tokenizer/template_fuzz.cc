// Input: a template, rendered with a fixed conversation under small limits. A render must end, with text or a
// sentence, whatever the template does.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/template_text.h"

namespace {

using fusiontree::tokenizer::ChatTemplate;
using fusiontree::tokenizer::TemplateLimits;
using fusiontree::tokenizer::TemplateValue;
using fusiontree::tokenizer::TextOrigin;

const TemplateValue& Globals() {
  static const TemplateValue globals = *TemplateValue::FromJson(
      R"({"messages": [{"role": "system", "content": "Sé brief. "}, {"role": "user", "content": "<|im_end|>\n hi ☃"},
           {"role": "assistant", "content": null, "tool_calls": [{"id": "abcdef123", "type": "function",
             "function": {"name": "f", "arguments": {"a": [1, 2.5, null], "b": {"c": "d"}}}}]},
           {"role": "tool", "content": "42", "tool_call_id": "abcdef123"},
           {"role": "user", "content": [{"type": "text", "text": "parts"}, {"type": "image"}]}],
          "tools": [{"type": "function", "function": {"name": "f", "description": "does", "parameters":
             {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}}}],
          "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 7, "s": "text", "l": [3, 1, 2],
          "d": {"b": 1, "a": 2}})",
      TextOrigin::kData);
  return globals;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = ChatTemplate::Parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) {
    FT_CHECK(!parsed.status().message().empty());
    return 0;
  }
  TemplateLimits limits;
  limits.steps = 50000;
  limits.output_bytes = 1 << 20;
  limits.value_bytes = 1 << 20;
  limits.total_bytes = 16 << 20;
  limits.now = 1733234709;
  const auto prompt = parsed->RenderSpans(Globals(), limits);
  if (!prompt.ok()) {
    FT_CHECK(prompt.status().message().starts_with("chat template line "));
    return 0;
  }
  // What is printed is UTF-8, and the spans lie in it, in order and apart.
  FT_CHECK(fusiontree::tokenizer::FindInvalidUtf8(prompt->text) == std::string::npos);
  size_t end = 0;
  for (size_t i = 0; i < prompt->data_spans.size(); ++i) {
    FT_CHECK(prompt->data_spans[i].begin < prompt->data_spans[i].end);
    FT_CHECK(i == 0 || prompt->data_spans[i].begin > end);
    end = prompt->data_spans[i].end;
    FT_CHECK(end <= prompt->text.size());
  }
  return 0;
}
