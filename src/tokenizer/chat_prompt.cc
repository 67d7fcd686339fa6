#include "tokenizer/chat_prompt.h"

#include <utility>

namespace fusiontree::tokenizer {
namespace {

base::Result<TemplateValue> ListFromJson(const std::string& what, const std::string& json) {
  auto value = TemplateValue::FromJson(json, TextOrigin::kData);
  if (!value.ok()) return value.status().WithContext(what);
  if (!value->is(TemplateValue::Kind::kList)) return base::BadInput("{} must be a JSON list", what);
  return value;
}

base::Status CheckMessages(const TemplateValue& messages) {
  for (size_t i = 0; i < messages.items().size(); ++i) {
    const TemplateValue& message = messages.items()[i];
    const TemplateValue* role =
        message.is(TemplateValue::Kind::kDict) ? message.dict().Find("role") : nullptr;
    if (role == nullptr || !role->is_string())
      return base::BadInput("message {} must be an object with a \"role\" that is a text", i);
  }
  return base::OkStatus();
}

}  // namespace

base::Result<RenderedPrompt> RenderChat(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                        const ChatInput& input, const TemplateLimits& limits) {
  TemplateValue globals = TemplateValue::Dict();
  const auto token = [&](const char* name, std::optional<int32_t> id) {
    if (id) globals.Set(name, TemplateValue::String(std::string(tokenizer.TokenText(*id))));
  };
  token("bos_token", tokenizer.bos_id());
  token("eos_token", tokenizer.eos_id());
  token("unk_token", tokenizer.unk_id());
  token("pad_token", tokenizer.pad_id());
  FT_ASSIGN_OR_RETURN(TemplateValue messages, ListFromJson("the messages", input.messages_json));
  FT_RETURN_IF_ERROR(CheckMessages(messages));
  globals.Set("messages", std::move(messages));
  TemplateValue tools;
  if (input.tools_json) {
    FT_ASSIGN_OR_RETURN(tools, ListFromJson("the tools", *input.tools_json));
  }
  globals.Set("tools", std::move(tools));
  globals.Set("documents", TemplateValue());
  globals.Set("add_generation_prompt", TemplateValue::Bool(input.add_generation_prompt));
  for (const std::string& setting : input.settings) {
    const size_t equals = setting.find('=');
    if (equals == 0 || equals == std::string::npos)
      return base::BadInput("--set must be KEY=JSON, not '{}'", setting);
    auto value = TemplateValue::FromJson(setting.substr(equals + 1), TextOrigin::kTemplate);
    if (!value.ok()) return value.status().WithContext("--set " + setting.substr(0, equals));
    globals.Set(setting.substr(0, equals), std::move(value).value());
  }
  return chat_template.RenderSpans(globals, limits);
}

base::Result<ChatTemplate> LoadTemplate(const Tokenizer& tokenizer, const std::string& model) {
  if (tokenizer.chat_template().empty())
    return base::BadInput(
        "{} has no chat template, so it is no model for conversations (generate continues a text)", model);
  return ChatTemplate::Parse(tokenizer.chat_template());
}

}  // namespace fusiontree::tokenizer
