// What a chat template is given, as Transformers gives it: messages, tools, add_generation_prompt, the
// special tokens by name, and settings of the user's.
#ifndef FUSIONTREE_TOKENIZER_CHAT_PROMPT_H_
#define FUSIONTREE_TOKENIZER_CHAT_PROMPT_H_

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::tokenizer {

struct ChatInput {
  std::string messages_json;              // a list of {"role": ..., "content": ...}
  std::optional<std::string> tools_json;  // a list of tools
  bool add_generation_prompt = false;
  std::vector<std::string> settings;  // "KEY=JSON"
};

// The text's spans of data are the contents of messages and tools: what users wrote.
base::Result<RenderedPrompt> RenderChat(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                        const ChatInput& input, const TemplateLimits& limits = {});

// The tokenizer's own template; without one, an error that says what to do.
base::Result<ChatTemplate> LoadTemplate(const Tokenizer& tokenizer, const std::string& model);

}  // namespace fusiontree::tokenizer

#endif  // FUSIONTREE_TOKENIZER_CHAT_PROMPT_H_
