// tokenizer train: a vocabulary learnt from text.
#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/document_flags.h"
#include "cli/files.h"
#include "data/output_folder.h"
#include "report/json.h"
#include "report/units.h"
#include "tokenizer/bpe_trainer.h"

namespace fusiontree::cli {
namespace {

class TokenizerTrain : public Command {
 public:
  std::string Name() const override { return "tokenizer train"; }
  std::string Summary() const override { return "a byte-level BPE tokenizer learnt from text"; }
  std::string Example() const override {
    return "  fusiontree tokenizer train texts/ --vocab-size 4096 -o tok\n"
           "  fusiontree tokenizer train 'chats/*.jsonl.zst' --vocab-size 32000 -o tok \\\n"
           "    --special-token '<|endoftext|>' --special-token '<|im_start|>' --special-token '<|im_end|>' "
           "\\\n"
           "    --chat-template chatml.jinja";
  }

  void Declare(Options& options) override {
    flags_.Declare(options);
    options.Text("-o,--output", "FOLDER", "the folder to make; it must be empty or not there yet", &output_);
    options.Integer("--vocab-size", "tokens in all: special ones, the 256 bytes, merges (default 4096)", 257,
                    1 << 24, &vocab_size_);
    options.Texts(
        "--special-token", "TOKEN",
        "a special token, with the next id from 0; may be given several times (default <|endoftext|>)",
        &special_);
    options.Text("--eos", "TOKEN", "the special token that ends a text (default: the first)", &eos_);
    options.Text("--bos", "TOKEN", "the special token that begins a text (default: none)", &bos_);
    options.Text("--pad", "TOKEN", "the special token that fills up (default: none)", &pad_);
    options.Choice("--pattern", {"qwen2", "gpt2"}, "how text is cut into words before merging", &pattern_);
    options.Integer("--min-count", "pairs that occur less often are not merged (default 2)", 1,
                    int64_t{1} << 40, &min_count_);
    options.Text("--chat-template", "FILE", "a Jinja template for conversations, kept with the tokenizer",
                 &template_);
    options.Flag("--json", "what was written as JSON", &json_);
  }

  base::Status Run() override {
    if (!output_) return base::BadInput("-o FOLDER is missing: where to write");
    tokenizer::BpeTrainerOptions options;
    options.vocab_size = static_cast<int32_t>(vocab_size_);
    options.min_count = min_count_;
    options.pattern = pattern_ == "gpt2" ? tokenizer::WordPattern::kGpt2 : tokenizer::WordPattern::kQwen2;
    if (!special_.empty()) options.special_tokens = special_;
    options.eos_token = eos_.value_or("");
    options.bos_token = bos_.value_or("");
    options.pad_token = pad_.value_or("");
    if (template_) {
      FT_ASSIGN_OR_RETURN(options.chat_template, ReadInput(*template_));
    }
    FT_ASSIGN_OR_RETURN(tokenizer::BpeTrainer trainer, tokenizer::BpeTrainer::Make(options));
    FT_ASSIGN_OR_RETURN(data::DocumentReader reader, flags_.Open());
    FT_ASSIGN_OR_RETURN(data::OutputFolder folder, data::OutputFolder::Create(*output_));
    FT_ASSIGN_OR_RETURN(const data::PipelineReport report, Count(&reader, &trainer));
    if (report.documents == 0) return base::BadInput("there is no text to learn from");
    TellSkipped(Name(), report);
    base::Progress progress("merging");
    const tokenizer::BpeVocabulary vocabulary = trainer.Train([&](double part) { progress.Update(part); });
    progress.Finish();
    FT_RETURN_IF_ERROR(folder.WriteFile("tokenizer.json", trainer.TokenizerJson(vocabulary)));
    FT_RETURN_IF_ERROR(folder.WriteFile("tokenizer_config.json", trainer.ConfigJson()));
    FT_RETURN_IF_ERROR(folder.Commit());
    if (static_cast<int64_t>(vocabulary.tokens.size()) < vocab_size_)
      std::fprintf(stderr, "fusiontree %s: no more pairs occur %lld times: %zu tokens instead of %lld\n",
                   Name().c_str(), static_cast<long long>(min_count_), vocabulary.tokens.size(),
                   static_cast<long long>(vocab_size_));
    return WriteOutput(json_ ? AsJson(vocabulary, report) : AsText(vocabulary, report));
  }

 private:
  base::Result<data::PipelineReport> Count(data::DocumentReader* reader,
                                           tokenizer::BpeTrainer* trainer) const {
    FT_ASSIGN_OR_RETURN(const data::DocumentParser parser,
                        data::DocumentParser::Make(nullptr, flags_.TextKey()));
    base::ThreadPool pool(flags_.Threads());
    std::vector<std::string> texts(data::kBatchDocuments);
    std::vector<std::string_view> views;
    return data::RunPipeline(
        reader, parser, &pool, flags_.Pipeline("counting"),
        [&](data::Document document, size_t slot) {
          texts[slot] = std::move(document.text);
          return base::OkStatus();
        },
        [&](const std::vector<size_t>& slots) {
          views.clear();
          for (const size_t slot : slots) views.push_back(texts[slot]);
          return trainer->Add(views, &pool);
        });
  }

  static double BytesPerToken(const tokenizer::BpeVocabulary& vocabulary) {
    return static_cast<double>(vocabulary.text_bytes) /
           static_cast<double>(std::max<int64_t>(vocabulary.text_tokens, 1));
  }

  std::string AsText(const tokenizer::BpeVocabulary& vocabulary, const data::PipelineReport& report) const {
    return fmt::format("wrote {}: {} tokens from {} in {} documents, {:.2f} bytes a token\n", *output_,
                       report::Grouped(static_cast<int64_t>(vocabulary.tokens.size())),
                       report::Bytes(static_cast<double>(vocabulary.text_bytes)),
                       report::Grouped(report.documents), BytesPerToken(vocabulary));
  }

  std::string AsJson(const tokenizer::BpeVocabulary& vocabulary, const data::PipelineReport& report) const {
    report::Json json;
    json.BeginObject().Key("output").Text(*output_);
    json.Key("vocab_size").Integer(static_cast<int64_t>(vocabulary.tokens.size()));
    json.Key("merges").Integer(static_cast<int64_t>(vocabulary.merges.size()));
    json.Key("documents").Integer(report.documents).Key("skipped_documents").Integer(report.skipped);
    json.Key("text_bytes").Integer(vocabulary.text_bytes).Key("text_tokens").Integer(vocabulary.text_tokens);
    json.Key("bytes_per_token").Number(BytesPerToken(vocabulary));
    return json.EndObject().text() + "\n";
  }

  DocumentFlags flags_;
  std::optional<std::string> output_, eos_, bos_, pad_, template_;
  std::vector<std::string> special_;
  std::string pattern_ = "qwen2";
  int64_t vocab_size_ = 4096, min_count_ = 2;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewTokenizerTrain() { return std::make_unique<TokenizerTrain>(); }

}  // namespace fusiontree::cli
