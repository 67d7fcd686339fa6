// chat: a conversation with the model's own template. The engine keeps the conversation's cache in one
// session, so each turn computes only what is new.
#include <fmt/format.h>

#include <cstdio>

#include "cli/command.h"
#include "cli/conversation.h"
#include "cli/files.h"
#include "cli/interrupt.h"
#include "cli/line_input.h"
#include "cli/text_model.h"
#include "engine/text_stream.h"
#include "tokenizer/chat_prompt.h"

namespace fusiontree::cli {
namespace {

constexpr int64_t kSession = 0;
constexpr int64_t kDefaultMaxTokens = 1024;
constexpr const char* kChatHelp =
    "/reset        forget the conversation\n"
    "/save FILE    write the conversation to a file\n"
    "/load FILE    go on with a conversation from a file\n"
    "/quit         leave (so does Ctrl-D); Ctrl-C stops an answer\n";

class Chat : public Command {
 public:
  std::string Name() const override { return "chat"; }
  std::string Summary() const override {
    return "a conversation in the terminal, or one message a line from a pipe";
  }
  std::string Example() const override {
    return "  fusiontree chat models/SmolLM2-135M-Instruct.Q4_1.gguf --system \"You answer in one "
           "sentence.\"\n"
           "  echo \"What is the capital of France?\" | fusiontree chat MODEL";
  }

  void Declare(Options& options) override {
    model_flags_.Declare(options);
    options.Text("--system", "TEXT", "what the model is told about itself before the conversation", &system_);
    options.Texts("--set", "KEY=JSON", "another variable of the chat template", &settings_);
    flags_.Declare(options);
    options.Flag("--verbose", "after each answer: tokens, those found in the cache, speed", &verbose_);
  }

  void UseRanks(parallel::Communicator* communicator) override { model_flags_.communicator = communicator; }

  base::Status Run() override {
    FT_RETURN_IF_ERROR(engine::StopStrings::Check(flags_.stop));
    FT_ASSIGN_OR_RETURN(TextModel model, TextModel::Open(model_flags_));
    FT_ASSIGN_OR_RETURN(const tokenizer::ChatTemplate chat_template,
                        LoadTemplate(model.tokenizer(), model_flags_.model));
    Reset();
    FT_RETURN_IF_ERROR(model.Load());
    LineInput input;
    InterruptScope interrupt(/*once=*/false);
    if (input.terminal())
      fmt::print("{} ({}); /help lists the commands\n", model_flags_.model, model.Describe());
    base::Status last;
    while (const std::optional<std::string> line = input.Next("> ")) {
      if (line->empty()) continue;
      if (line->front() == '/') {
        if (*line == "/quit" || *line == "/exit") break;
        last = RunCommand(model, *line);
      } else {
        last = Answer(model, chat_template, *line);
      }
      if (!last.ok()) std::fprintf(stderr, "fusiontree chat: %s\n", last.message().c_str());
      // From a pipe there is nobody who could react to an error, or to a Ctrl-C that stopped an answer.
      if (!input.terminal() && InterruptScope::requested())
        return base::Status(base::ErrorKind::kCancelled, "stopped by Ctrl-C");
      if (!input.terminal() && !last.ok()) return base::Status(last.kind(), "");
    }
    return base::OkStatus();
  }

 private:
  void Reset() {
    messages_.clear();
    if (system_) messages_.push_back({"system", *system_});
  }

  base::Status RunCommand(TextModel& model, const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help") return WriteOutput(kChatHelp);
    if (name == "/reset") {
      Reset();
      model.engine().EndSession(kSession);
      return base::OkStatus();
    }
    if (name != "/save" && name != "/load")
      return base::BadInput("there is no command '{}' (/help lists what there is)", name);
    if (argument.empty()) return base::BadInput("{} needs a file name", name);
    if (name == "/save") return SaveConversation(argument, messages_);
    FT_ASSIGN_OR_RETURN(const std::string text, ReadInput(argument));
    auto messages = ParseConversation(text);
    if (!messages.ok()) return messages.status().WithContext(argument);
    messages_ = std::move(messages).value();
    return base::OkStatus();
  }

  // Adds the user's message and the model's answer to the conversation; on an error neither.
  base::Status Answer(TextModel& model, const tokenizer::ChatTemplate& chat_template,
                      const std::string& text) {
    std::vector<Message> messages = messages_;
    messages.push_back({"user", text});
    tokenizer::ChatInput input;
    input.messages_json = MessagesJson(messages);
    input.add_generation_prompt = true;
    input.settings = settings_;
    FT_ASSIGN_OR_RETURN(tokenizer::RenderedPrompt prompt,
                        RenderChat(chat_template, model.tokenizer(), input));
    engine::Request request;
    FT_ASSIGN_OR_RETURN(request.prompt, model.tokenizer().EncodeSpans(prompt.text, prompt.data_spans));
    request.sampling = ResolveSampling(flags_, model.defaults());
    request.max_tokens = flags_.max_tokens.value_or(kDefaultMaxTokens);
    request.stop_ids = model.StopIds();
    request.session = kSession;
    engine::TextStream stream(model.tokenizer(), request.prompt, flags_.stop);
    std::string answer;
    bool done = false;
    engine::Completion completion;
    request.on_token = [&](int32_t id) {
      const std::string piece = stream.Push(id);
      answer += piece;
      return WriteOutput(piece).ok() && !stream.stopped() && !InterruptScope::requested();
    };
    request.on_done = [&](const engine::Completion& result) {
      completion = result;
      done = true;
    };
    const engine::Stats before = model.engine().stats();
    FT_RETURN_IF_ERROR(model.engine().Submit(std::move(request)));
    // A Ctrl-C is seen by the next token's callback, which ends the request in order.
    while (!done && model.engine().Step()) {
    }
    const std::string rest = stream.Finish();
    answer += rest;
    FT_RETURN_IF_ERROR(WriteOutput(rest + "\n"));
    if (completion.reason == engine::FinishReason::kFailed) return completion.status;
    messages.push_back({"assistant", answer});
    messages_ = std::move(messages);
    if (verbose_) ReportTurn(model.engine().stats(), before, completion);
    return base::OkStatus();
  }

  static void ReportTurn(const engine::Stats& after, const engine::Stats& before,
                         const engine::Completion& completion) {
    const int64_t decoded = after.decode_tokens - before.decode_tokens;
    fmt::print(stderr, "[prompt {} tokens, {} of them from the cache; written {} at {} tok/s]\n",
               completion.prompt_tokens, completion.reused_tokens, completion.tokens.size(),
               Rate(decoded, after.decode_seconds - before.decode_seconds));
  }

  ModelFlags model_flags_;
  SamplingFlags flags_;
  std::optional<std::string> system_;
  std::vector<std::string> settings_;
  bool verbose_ = false;
  std::vector<Message> messages_;
};

}  // namespace

std::unique_ptr<Command> NewChat() { return std::make_unique<Chat>(); }

}  // namespace fusiontree::cli
