// data tokenize: documents to token shards.
#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "cli/command.h"
#include "cli/document_flags.h"
#include "cli/files.h"
#include "cli/tokens.h"
#include "data/shards.h"
#include "report/json.h"
#include "report/units.h"

namespace fusiontree::cli {
namespace {

class DataTokenize : public Command {
 public:
  std::string Name() const override { return "data tokenize"; }
  std::string Summary() const override { return "documents to token shards, to train on"; }
  std::string Example() const override {
    return "  fusiontree data tokenize texts/ 'more/*.jsonl.zst' --tokenizer tok -o shards --held-out 0.01";
  }

  void Declare(Options& options) override {
    flags_.Declare(options);
    options.Text("--tokenizer", "MODEL", "whose tokenizer: a folder with tokenizer.json or a .gguf file",
                 &tokenizer_);
    options.Text("-o,--output", "FOLDER", "the folder to make; it must be empty or not there yet", &output_);
    options.Number("--held-out",
                   "the share of documents kept apart to test on, chosen by their text (default 0.01)", 0,
                   0.99, &held_out_);
    options.Flag("--json", "what was written as JSON", &json_);
  }

  base::Status Run() override {
    if (!tokenizer_) return base::BadInput("--tokenizer MODEL is missing");
    if (!output_) return base::BadInput("-o FOLDER is missing: where to write");
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, LoadTokenizer(*tokenizer_));
    FT_ASSIGN_OR_RETURN(const data::DocumentParser parser,
                        data::DocumentParser::Make(&tokenizer, flags_.TextKey()));
    FT_ASSIGN_OR_RETURN(data::DocumentReader reader, flags_.Open());
    data::ShardOptions options;
    options.held_out = held_out_.value_or(0.01);
    std::error_code error;
    if (std::filesystem::is_directory(*tokenizer_, error)) options.tokenizer_folder = *tokenizer_;
    options.pipeline = flags_.Pipeline("tokenising");
    base::ThreadPool pool(flags_.Threads());
    FT_ASSIGN_OR_RETURN(const data::PipelineReport report,
                        data::WriteShards(&reader, parser, tokenizer, *output_, options, &pool));
    TellSkipped(Name(), report);
    FT_ASSIGN_OR_RETURN(const data::ShardFolder folder, data::ShardFolder::Open(*output_, /*full=*/false));
    return WriteOutput(json_ ? AsJson(folder, report) : AsText(folder));
  }

 private:
  std::string AsText(const data::ShardFolder& folder) const {
    const auto part = [](const data::ShardSet& set) {
      return fmt::format("{} documents of {} tokens", report::Grouped(set.documents()),
                         report::Grouped(set.tokens()));
    };
    return fmt::format(
        "wrote {}: {} to train on ({:.2f} bytes a token), {} held out\n", *output_, part(folder.train),
        static_cast<double>(folder.train.text_bytes()) / static_cast<double>(folder.train.tokens()),
        part(folder.held_out));
  }

  std::string AsJson(const data::ShardFolder& folder, const data::PipelineReport& report) const {
    report::Json json;
    json.BeginObject().Key("output").Text(*output_).Key("vocab_size").Integer(folder.vocab_size);
    json.Key("skipped_documents").Integer(report.skipped).Key("empty_documents").Integer(report.empty);
    for (const auto& [name, set] : {std::pair{"train", &folder.train}, {"held_out", &folder.held_out}}) {
      json.Key(name)
          .BeginObject()
          .Key("documents")
          .Integer(set->documents())
          .Key("tokens")
          .Integer(set->tokens());
      json.Key("targets").Integer(set->targets()).Key("text_bytes").Integer(set->text_bytes()).EndObject();
    }
    return json.EndObject().text() + "\n";
  }

  DocumentFlags flags_;
  std::optional<std::string> tokenizer_, output_;
  std::optional<double> held_out_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewDataTokenize() { return std::make_unique<DataTokenize>(); }

}  // namespace fusiontree::cli
