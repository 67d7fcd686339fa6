// data stats: what token shards hold, every byte of them checked.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/shard_flags.h"
#include "data/ngram.h"
#include "report/json.h"
#include "report/table.h"
#include "report/units.h"

namespace fusiontree::cli {
namespace {

class DataStats : public Command {
 public:
  std::string Name() const override { return "data stats"; }
  std::string Summary() const override { return "what token shards hold; checks every byte of them"; }
  std::string Example() const override { return "  fusiontree data stats shards --ngram"; }

  void Declare(Options& options) override {
    flags_.Declare(options);
    options.Flag("--ngram",
                 "bits per byte of the held-out text under a byte 5-gram of the rest: what a model must beat",
                 &ngram_);
    options.Flag("--json", "the same as JSON", &json_);
  }

  base::Status Run() override {
    FT_ASSIGN_OR_RETURN(const data::ShardFolder folder, data::ShardFolder::Open(flags_.folder));
    std::optional<double> bits;
    if (ngram_) {
      FT_ASSIGN_OR_RETURN(bits, NgramBits(folder));
    }
    return WriteOutput(json_ ? AsJson(folder, bits) : AsText(folder, bits));
  }

 private:
  struct Lengths {
    int64_t shortest = 0, median = 0, longest = 0;
  };
  static Lengths LengthsOf(const data::ShardSet& set) {
    std::vector<int64_t> lengths(set.documents());
    for (int64_t d = 0; d < set.documents(); ++d) lengths[d] = set.Length(d);
    if (lengths.empty()) return {};
    std::sort(lengths.begin(), lengths.end());
    return {lengths.front(), lengths[lengths.size() / 2], lengths.back()};
  }

  base::Result<double> NgramBits(const data::ShardFolder& folder) const {
    if (folder.held_out.text_bytes() == 0)
      return base::BadInput("{}: no text is held out for --ngram to be tested on", flags_.folder);
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, flags_.OpenTokenizer(folder));
    data::ByteNgram model;
    base::Progress progress("counting");
    const int64_t all = folder.train.documents() + folder.held_out.documents();
    for (int64_t d = 0; d < folder.train.documents(); ++d) {
      FT_ASSIGN_OR_RETURN(const std::string text, DocumentText(folder.train, d, tokenizer));
      model.Add(text);
      if (d % 64 == 0) progress.Update(static_cast<double>(d) / static_cast<double>(all));
    }
    model.Finish();
    double bits = 0, bytes = 0;
    for (int64_t d = 0; d < folder.held_out.documents(); ++d) {
      FT_ASSIGN_OR_RETURN(const std::string text, DocumentText(folder.held_out, d, tokenizer));
      bits += model.Bits(text);
      bytes += static_cast<double>(text.size());
      if (d % 64 == 0)
        progress.Update(static_cast<double>(folder.train.documents() + d) / static_cast<double>(all));
    }
    return bits / bytes;
  }

  static std::string AsText(const data::ShardFolder& folder, const std::optional<double>& bits) {
    report::Table table({"", "train", "held out"});
    const Lengths train = LengthsOf(folder.train), held_out = LengthsOf(folder.held_out);
    const auto row = [&table](const char* name, int64_t a, int64_t b) {
      table.Row({name, report::Grouped(a), report::Grouped(b)});
    };
    row("documents", folder.train.documents(), folder.held_out.documents());
    row("tokens", folder.train.tokens(), folder.held_out.tokens());
    row("targets", folder.train.targets(), folder.held_out.targets());
    row("bytes of text", folder.train.text_bytes(), folder.held_out.text_bytes());
    row("tokens of the shortest", train.shortest, held_out.shortest);
    row("tokens of the median", train.median, held_out.median);
    row("tokens of the longest", train.longest, held_out.longest);
    row("files", static_cast<int64_t>(folder.train.files().size()),
        static_cast<int64_t>(folder.held_out.files().size()));
    std::string text = table.Text();
    text += fmt::format(
        "\n{:.2f} bytes a token; vocabulary of {}, tokenizer {:016x}\n",
        static_cast<double>(folder.train.text_bytes()) / static_cast<double>(folder.train.tokens()),
        report::Grouped(folder.vocab_size), folder.tokenizer_digest);
    if (folder.skipped + folder.empty > 0)
      text += fmt::format("left out: {} invalid documents, {} without text\n",
                          report::Grouped(folder.skipped), report::Grouped(folder.empty));
    if (bits)
      text += fmt::format("byte 5-gram (interpolated Kneser-Ney): {:.4f} bits per byte held out\n", *bits);
    return text;
  }

  static std::string AsJson(const data::ShardFolder& folder, const std::optional<double>& bits) {
    report::Json json;
    json.BeginObject().Key("vocab_size").Integer(folder.vocab_size);
    json.Key("eos_id").Integer(folder.eos_id);
    json.Key("tokenizer_digest").Text(fmt::format("{:016x}", folder.tokenizer_digest));
    json.Key("held_out_fraction").Number(folder.held_out_fraction);
    json.Key("skipped_documents").Integer(folder.skipped).Key("empty_documents").Integer(folder.empty);
    for (const auto& [name, set] : {std::pair{"train", &folder.train}, {"held_out", &folder.held_out}}) {
      const Lengths lengths = LengthsOf(*set);
      json.Key(name)
          .BeginObject()
          .Key("documents")
          .Integer(set->documents())
          .Key("tokens")
          .Integer(set->tokens());
      json.Key("targets").Integer(set->targets()).Key("text_bytes").Integer(set->text_bytes());
      json.Key("shortest").Integer(lengths.shortest).Key("median").Integer(lengths.median);
      json.Key("longest").Integer(lengths.longest);
      json.Key("files").Integer(static_cast<int64_t>(set->files().size())).EndObject();
    }
    if (bits) json.Key("ngram_bits_per_byte").Number(*bits);
    return json.EndObject().text() + "\n";
  }

  ShardFlags flags_;
  bool ngram_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewDataStats() { return std::make_unique<DataStats>(); }

}  // namespace fusiontree::cli
