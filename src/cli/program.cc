// The only file that includes CLI11. Options keep their texts as typed (CLI11's own conversions read "[a,b]"
// as a list and "010" as eight); options.cc turns them into values.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <utility>

#include "cli/command.h"

namespace fusiontree::cli {
namespace {

constexpr const char* kVersion = "0.1.0";
constexpr const char* kDescription =
    "FusionTree runs Qwen2- and Llama-family language models on the CPU, and gives the same bits every "
    "time.\n"
    "MODEL is a Hugging Face folder (config.json, *.safetensors, tokenizer.json) or a .gguf file.";

class CliParser : public Options::Parser {
 public:
  explicit CliParser(CLI::App* app) : app_(app) {}

  void AddArgument(const std::string& name, const std::string& help, bool many, Store store) override {
    CLI::Option* option = Add(name, help, std::move(store));
    option->type_name("");
    if (many)
      option->expected(0, 1 << 29)->allow_extra_args(false);
    else
      option->required();
  }

  void AddOption(const std::string& names, const std::string& value, const std::string& help, bool many,
                 Store store) override {
    CLI::Option* option = Add(names, help, std::move(store));
    option->type_name(value);
    if (many) option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }

  void AddFlag(const std::string& names, const std::string& help, std::function<void()> store) override {
    app_->add_flag_callback(names, std::move(store), help);
  }

  // The first complaint of a value, or success.
  base::Status StoreAll() {
    for (auto& [option, store] : bindings_) {
      if (option->count() > 0) FT_RETURN_IF_ERROR(store(option->results()));
    }
    return base::OkStatus();
  }

 private:
  CLI::Option* Add(const std::string& names, const std::string& help, Store store) {
    // A callback that accepts everything: the texts are fetched by StoreAll.
    CLI::Option* option = app_->add_option(
        names, [](const CLI::results_t&) { return true; }, help);
    option->type_size(1)->expected(1)->allow_extra_args(false);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    bindings_.emplace_back(option, std::move(store));
    return option;
  }

  CLI::App* app_;
  std::vector<std::pair<CLI::Option*, Store>> bindings_;
};

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(34);
    label("REQUIRED", "");
    label("OPTIONS", "OPTIONS");
    label("SUBCOMMAND", "COMMAND");
    label("SUBCOMMANDS", "COMMAND");
  }
};

int Report(const std::string& command, const base::Status& status) {
  if (status.ok()) return 0;
  if (!status.message().empty())
    std::fprintf(stderr, "fusiontree%s%s: %s\n", command.empty() ? "" : " ", command.c_str(),
                 status.message().c_str());
  switch (status.kind()) {
    case base::ErrorKind::kBadInput:
      return 2;
    case base::ErrorKind::kFailed:
      return 1;
    case base::ErrorKind::kCancelled:
      return 130;
  }
  return 1;
}

struct Entry {
  Command* command;
  CLI::App* app;
  std::unique_ptr<CliParser> parser;
};

// The deepest subcommand that the arguments named.
const CLI::App* Deepest(const CLI::App& app) {
  const CLI::App* deepest = &app;
  while (!deepest->get_subcommands().empty()) deepest = deepest->get_subcommands().front();
  return deepest;
}

std::string PathOf(const CLI::App* app) {
  std::string path;
  for (; app != nullptr && app->get_parent() != nullptr; app = app->get_parent())
    path = path.empty() ? app->get_name() : app->get_name() + " " + path;
  return path;
}

std::string UsageSentence(const CLI::ParseError& error, const std::string& path) {
  std::string message = error.what();
  if (!message.empty() && message.back() == '\n') message.pop_back();
  for (char& c : message) c = c == '\n' ? ' ' : c;
  const std::string see = "fusiontree" + (path.empty() ? "" : " " + path) + " --help";
  return message + " (" + see + " lists what there is)";
}

}  // namespace

int RunProgram(const std::vector<std::string>& arguments,
               const std::vector<std::unique_ptr<Command>>& commands) {
  CLI::App app(kDescription, "fusiontree");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "what this does, with an example");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  std::map<std::string, CLI::App*> groups;
  std::vector<Entry> entries;
  for (const auto& command : commands) {
    const std::string name = command->Name();
    const size_t space = name.find(' ');
    CLI::App* parent = &app;
    if (space != std::string::npos) {
      CLI::App*& group = groups[name.substr(0, space)];
      if (group == nullptr) {
        group = app.add_subcommand(name.substr(0, space),
                                   "text to token ids and back; the chat template's prompt");
        group->require_subcommand(1);
      }
      parent = group;
    }
    CLI::App* sub = parent->add_subcommand(space == std::string::npos ? name : name.substr(space + 1),
                                           command->Summary());
    sub->footer("Example:\n" + command->Example());
    Entry entry{command.get(), sub, std::make_unique<CliParser>(sub)};
    Options options(entry.parser.get());
    command->Declare(options);
    entries.push_back(std::move(entry));
  }

  if (arguments.empty()) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::fputs(Deepest(app)->help().c_str(), stdout);
    return 0;
  } catch (const CLI::CallForVersion&) {
    std::printf("fusiontree %s\n", kVersion);
    return 0;
  } catch (const CLI::ParseError& error) {
    const std::string path = PathOf(Deepest(app));
    return Report(path, base::BadInput("{}", UsageSentence(error, path)));
  }
  for (Entry& entry : entries) {
    if (!entry.app->parsed()) continue;
    const base::Status stored = entry.parser->StoreAll();
    return Report(entry.command->Name(), stored.ok() ? entry.command->Run() : stored);
  }
  return Report("", base::BadInput("no command was given"));
}

}  // namespace fusiontree::cli
