#include "tokenizer/chat_template.h"

#include <utility>

#include "tokenizer/template_ast.h"
#include "tokenizer/template_interpreter.h"

namespace fusiontree::tokenizer {

using base::Result;

ChatTemplate::ChatTemplate(std::unique_ptr<TemplateAst> ast) : ast_(std::move(ast)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::Parse(const std::string& source) {
  FT_ASSIGN_OR_RETURN(std::unique_ptr<TemplateAst> ast, ParseTemplate(source));
  return ChatTemplate(std::move(ast));
}

Result<RenderedPrompt> ChatTemplate::RenderSpans(const TemplateValue& globals,
                                                 const TemplateLimits& limits) const {
  FT_ASSIGN_OR_RETURN(TemplateString prompt, TemplateInterpreter(*ast_, limits).Run(globals));
  return RenderedPrompt{std::move(prompt.text), std::move(prompt.data)};
}

Result<std::string> ChatTemplate::Render(const TemplateValue& globals, const TemplateLimits& limits) const {
  FT_ASSIGN_OR_RETURN(RenderedPrompt prompt, RenderSpans(globals, limits));
  return std::move(prompt.text);
}

}  // namespace fusiontree::tokenizer
