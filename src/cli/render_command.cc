// tokenizer render.
#include "cli/command.h"
#include "cli/files.h"
#include "cli/tokens.h"
#include "tokenizer/chat_prompt.h"

namespace fusiontree::cli {
namespace {

class Render : public Command {
 public:
  std::string Name() const override { return "tokenizer render"; }
  std::string Summary() const override { return "the prompt that the chat template makes of messages"; }
  std::string Example() const override {
    return "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' > messages.json\n"
           "  fusiontree tokenizer render models/SmolLM2-135M-Instruct.Q4_1.gguf --messages messages.json "
           "\\\n"
           "    --add-generation-prompt";
  }
  void Declare(Options& options) override {
    options.Argument("MODEL", "a Hugging Face folder or a .gguf file", &model_);
    options.Text("--messages", "FILE", "JSON list of {\"role\": ..., \"content\": ...}; - is standard input",
                 &messages_);
    options.Text("--tools", "FILE", "JSON list of tools", &tools_);
    options.Flag("--add-generation-prompt", "end where the model's answer begins", &generation_);
    options.Texts("--set", "KEY=JSON", "another variable of the template; may be given several times",
                  &settings_);
    options.Text("--template", "FILE", "this template instead of the model's own", &template_);
    options.Flag("--json",
                 "{\"text\": ..., \"ids\": [...]}: with the token ids, user text never as special tokens",
                 &json_);
  }
  base::Status Run() override {
    if (!messages_) return base::BadInput("--messages FILE is missing");
    tokenizer::ChatInput input;
    FT_ASSIGN_OR_RETURN(input.messages_json, ReadInput(*messages_));
    if (tools_) {
      FT_ASSIGN_OR_RETURN(input.tools_json, ReadInput(*tools_));
    }
    input.add_generation_prompt = generation_;
    input.settings = settings_;
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, LoadTokenizer(model_));
    FT_ASSIGN_OR_RETURN(const tokenizer::ChatTemplate chat_template, Template(tokenizer));
    FT_ASSIGN_OR_RETURN(tokenizer::RenderedPrompt prompt, RenderChat(chat_template, tokenizer, input));
    if (!json_) return WriteOutput(prompt.text);
    FT_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                        tokenizer.EncodeSpans(prompt.text, prompt.data_spans));
    report::Json json(0);
    json.BeginObject().Key("text").Text(prompt.text).Key("ids");
    AppendIds(ids, &json);
    json.EndObject();
    return WriteOutput(json.text() + "\n");
  }

 private:
  base::Result<tokenizer::ChatTemplate> Template(const tokenizer::Tokenizer& tokenizer) const {
    if (!template_) return LoadTemplate(tokenizer, model_);
    FT_ASSIGN_OR_RETURN(const std::string source, ReadInput(*template_));
    return tokenizer::ChatTemplate::Parse(source);
  }

  std::string model_;
  std::optional<std::string> messages_, tools_, template_;
  std::vector<std::string> settings_;
  bool generation_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewRender() { return std::make_unique<Render>(); }

}  // namespace fusiontree::cli
