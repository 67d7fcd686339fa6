// tokenizer encode and decode.
#include <fmt/format.h>

#include "checkpoint/checkpoint.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/tokenizer_input.h"
#include "report/json.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {
base::Result<tokenizer::Tokenizer> LoadTokenizer(const std::string& model) {
  FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint, checkpoint::Checkpoint::Open(model));
  return tokenizer::Tokenizer::Load(checkpoint);
}

void AppendIds(const std::vector<int32_t>& ids, report::Json* json) {
  json->BeginArray();
  for (const int32_t id : ids) json->Integer(id);
  json->EndArray();
}

namespace {

// The texts that a command works on: its arguments, else --file, else standard input.
base::Result<std::vector<std::string>> Inputs(const std::vector<std::string>& arguments,
                                              const std::optional<std::string>& file) {
  if (!arguments.empty() && file)
    return base::BadInput("give the input as arguments or with --file, not both");
  if (!arguments.empty()) return arguments;
  FT_ASSIGN_OR_RETURN(std::string text, ReadInput(file.value_or("-")));
  return std::vector<std::string>{std::move(text)};
}

class Encode : public Command {
 public:
  std::string Name() const override { return "tokenizer encode"; }
  std::string Summary() const override { return "text to token ids"; }
  std::string Example() const override {
    return "  fusiontree tokenizer encode models/SmolLM2-135M-Instruct.Q4_1.gguf \"Hello there\"";
  }
  void Declare(Options& options) override {
    options.Argument("MODEL", "a Hugging Face folder or a .gguf file", &model_);
    options.Arguments("TEXT", "texts to encode (without any: --file, else standard input)", &texts_);
    options.Text("-f,--file", "FILE", "encode this file", &file_);
    options.Flag("--special", "spellings of special tokens become those tokens; otherwise they stay text",
                 &special_);
    options.Flag("--no-bos", "without the tokens that the model puts around a text", &no_bos_);
    options.Flag("--lossy", "bytes that are not UTF-8 become U+FFFD; otherwise they are an error", &lossy_);
    options.Flag("--json", "a JSON list (of lists, for several texts) instead of one id a line", &json_);
  }
  base::Status Run() override {
    FT_ASSIGN_OR_RETURN(const std::vector<std::string> texts, Inputs(texts_, file_));
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, LoadTokenizer(model_));
    const tokenizer::EncodeOptions options{
        .allow_special = special_, .add_special_tokens = !no_bos_, .lossy = lossy_};
    report::Json json(0);
    std::string plain;
    if (texts.size() > 1) json.BeginArray();
    for (size_t i = 0; i < texts.size(); ++i) {
      FT_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(texts[i], options));
      if (json_) {
        AppendIds(ids, &json);
        continue;
      }
      if (i > 0) plain += '\n';
      for (const int32_t id : ids) plain += fmt::format("{}\n", id);
    }
    if (texts.size() > 1) json.EndArray();
    return WriteOutput(json_ ? json.text() + "\n" : plain);
  }

 private:
  std::string model_;
  std::vector<std::string> texts_;
  std::optional<std::string> file_;
  bool special_ = false, no_bos_ = false, lossy_ = false, json_ = false;
};

class Decode : public Command {
 public:
  std::string Name() const override { return "tokenizer decode"; }
  std::string Summary() const override { return "token ids to text"; }
  std::string Example() const override {
    return "  fusiontree tokenizer decode models/SmolLM2-135M-Instruct.Q4_1.gguf 19556 665";
  }
  void Declare(Options& options) override {
    options.Argument("MODEL", "a Hugging Face folder or a .gguf file", &model_);
    options.Arguments("ID", "ids to decode (without any: --file, else standard input)", &ids_);
    options.Text("-f,--file", "FILE", "ids in this file: between white space, or a JSON list", &file_);
    options.Flag("--special", "show special tokens too", &special_);
    options.Flag("--json", "the text as a JSON string", &json_);
  }
  base::Status Run() override {
    FT_ASSIGN_OR_RETURN(const std::vector<std::string> inputs, Inputs(ids_, file_));
    std::vector<int32_t> ids;
    for (const std::string& input : inputs) FT_RETURN_IF_ERROR(ReadIds(input, &ids));
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, LoadTokenizer(model_));
    FT_ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(ids, !special_));
    return WriteOutput((json_ ? report::Quote(text) : text) + "\n");
  }

 private:
  static base::Status ReadIds(const std::string& text, std::vector<int32_t>* ids) {
    const char* const kSpaces = " \t\r\n";
    const size_t first = text.find_first_not_of(kSpaces);
    if (first != std::string::npos && text[first] == '[') {
      bool nested = false;
      FT_ASSIGN_OR_RETURN(const auto lists, ParseIdLists("the ids", text, &nested));
      for (const auto& list : lists) ids->insert(ids->end(), list.begin(), list.end());
      return base::OkStatus();
    }
    for (size_t at = first; at != std::string::npos && at < text.size();) {
      const size_t end = std::min(text.find_first_of(kSpaces, at), text.size());
      FT_ASSIGN_OR_RETURN(const int64_t id,
                          ParseInteger("a token id", text.substr(at, end - at), 0, INT32_MAX));
      ids->push_back(static_cast<int32_t>(id));
      at = text.find_first_not_of(kSpaces, end);
    }
    return base::OkStatus();
  }

  std::string model_;
  std::vector<std::string> ids_;
  std::optional<std::string> file_;
  bool special_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewEncode() { return std::make_unique<Encode>(); }
std::unique_ptr<Command> NewDecode() { return std::make_unique<Decode>(); }

}  // namespace fusiontree::cli
