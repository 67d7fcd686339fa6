// A model's chat template: Jinja as Hugging Face Transformers configures it (ImmutableSandboxedEnvironment,
// trim_blocks, lstrip_blocks, loop controls, the generation tag, its own tojson, raise_exception and
// strftime_now), without Python, without access to anything outside, and within limits.
#ifndef FUSIONTREE_TOKENIZER_CHAT_TEMPLATE_H_
#define FUSIONTREE_TOKENIZER_CHAT_TEMPLATE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tokenizer/template_value.h"

namespace fusiontree::tokenizer {

struct TemplateAst;

// A template that needs more is refused with an error. The defaults render ten thousand messages in well
// under a second; the longest render they allow takes a few seconds.
struct TemplateLimits {
  int64_t steps = 20'000'000;       // evaluated nodes, iterations, comparisons, and 64 bytes of text moved
  size_t output_bytes = 32 << 20;   // of the prompt
  size_t value_bytes = 32 << 20;    // of any one string
  int64_t total_bytes = 512 << 20;  // of all strings and containers made during one render
  int depth = 600;                  // nested evaluations; a macro that calls itself takes about four a level
  std::optional<int64_t> now;       // seconds since 1970 for strftime_now; the clock when empty
};

struct RenderedPrompt {
  std::string text;
  // Bytes that came from data. A special token spelt there, even in part, is the user's text and no token.
  std::vector<Span> data_spans;
};

class ChatTemplate {
 public:
  // Errors carry the line: "chat template line 3: ...". Unknown filters, tests and functions are errors only
  // when the branch that names them runs.
  static base::Result<ChatTemplate> Parse(const std::string& source);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `globals` is a dict: messages, tools, add_generation_prompt, bos_token, eos_token and whatever else the
  // template reads. It is not changed. Safe to call from several threads at once.
  base::Result<std::string> Render(const TemplateValue& globals, const TemplateLimits& limits = {}) const;
  base::Result<RenderedPrompt> RenderSpans(const TemplateValue& globals,
                                           const TemplateLimits& limits = {}) const;

 private:
  explicit ChatTemplate(std::unique_ptr<TemplateAst> ast);
  std::unique_ptr<TemplateAst> ast_;
};

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_CHAT_TEMPLATE_H_
