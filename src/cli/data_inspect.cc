// data inspect: what a training row looks like.
#include <fmt/format.h>

#include <optional>

#include "cli/command.h"
#include "cli/files.h"
#include "cli/shard_flags.h"
#include "cli/tokens.h"
#include "data/packing.h"
#include "report/json.h"
#include "report/units.h"

namespace fusiontree::cli {
namespace {

constexpr int64_t kMaxEpochs = 100;  // to find a row, the documents before it are counted

class DataInspect : public Command {
 public:
  std::string Name() const override { return "data inspect"; }
  std::string Summary() const override { return "what a training row looks like: its documents as text"; }
  std::string Example() const override {
    return "  fusiontree data inspect shards --row 3 --length 256 --seed 1";
  }

  void Declare(Options& options) override {
    flags_.Declare(options);
    options.Integer("--row", "which row, from 0 (default 0)", 0, int64_t{1} << 36, &row_);
    options.Integer("--length", "tokens of a row (default 256)", 1, 1 << 22, &length_);
    options.Integer("--seed", "decides the order of the documents (default 0)", 0, INT64_MAX, &seed_);
    options.Choice("--split", {"train", "held-out"}, "of which part; held-out documents are not shuffled",
                   &split_);
    options.Flag("--json", "with ids and targets as JSON", &json_);
  }

  base::Status Run() override {
    FT_ASSIGN_OR_RETURN(const data::ShardFolder folder,
                        data::ShardFolder::Open(flags_.folder, /*full=*/false));
    const bool train = split_ == "train";
    const data::ShardSet& set = train ? folder.train : folder.held_out;
    if (set.documents() == 0) return base::BadInput("{}: no documents are held out", flags_.folder);
    FT_ASSIGN_OR_RETURN(const tokenizer::Tokenizer tokenizer, flags_.OpenTokenizer(folder));
    FT_ASSIGN_OR_RETURN(
        const data::DocumentStream stream,
        data::DocumentStream::Make(
            {{&set}}, {.seed = static_cast<uint64_t>(seed_), .shuffle = train, .repeat = train}));
    const int64_t position = row_ * length_, end = train ? kMaxEpochs * set.tokens() : set.tokens();
    if (position >= end)
      return base::BadInput("row {} begins at token {}, but only the {} tokens of {} are shown", row_,
                            position, end, train ? "100 epochs" : "the held-out documents");
    FT_ASSIGN_OR_RETURN(const data::Row row, stream.Pack(position, length_));
    FT_ASSIGN_OR_RETURN(const std::string text,
                        json_ ? AsJson(row, position, tokenizer) : AsText(row, position, set, tokenizer));
    return WriteOutput(text);
  }

 private:
  static base::Result<std::string> Decoded(const data::Row& row, int32_t begin, int32_t end,
                                           const tokenizer::Tokenizer& tokenizer) {
    return tokenizer.Decode(std::span(row.ids).subspan(begin, end - begin), /*skip_special=*/false);
  }

  // Whether the token at `i` of a piece is a target of the one before, which for its first token lies
  // elsewhere: that one is shown as the next.
  static bool Learnt(const data::Row& row, const data::Piece& piece, int32_t i) {
    if (piece.length == 1) return true;
    return row.targets[std::max(i, piece.begin + 1) - 1] != data::kNoTarget;
  }

  base::Result<std::string> AsText(const data::Row& row, int64_t position, const data::ShardSet& set,
                                   const tokenizer::Tokenizer& tokenizer) const {
    std::string text =
        fmt::format("row {} of {} tokens, seed {}: from token {}; {} documents, {} targets\n", row_,
                    row.ids.size(), seed_, report::Grouped(position), row.pieces.size(), row.CountTargets());
    for (const data::Piece& piece : row.pieces) {
      text += fmt::format("--- document {}, epoch {}, tokens {} to {} of {}\n", piece.document, piece.epoch,
                          piece.offset, piece.offset + piece.length - 1, set.Length(piece.document));
      const int32_t end = piece.begin + piece.length;
      bool masked = false;
      for (int32_t i = piece.begin; i < end; ++i) masked |= !Learnt(row, piece, i);
      if (!masked) {
        FT_ASSIGN_OR_RETURN(const std::string all, Decoded(row, piece.begin, end, tokenizer));
        text += all + "\n";
        continue;
      }
      for (int32_t i = piece.begin, next; i < end; i = next) {
        const bool learnt = Learnt(row, piece, i);
        for (next = i + 1; next < end && Learnt(row, piece, next) == learnt;) ++next;
        FT_ASSIGN_OR_RETURN(const std::string part, Decoded(row, i, next, tokenizer));
        text += fmt::format("{} {}\n", learnt ? "learnt:" : "read:  ", report::Quote(part));
      }
    }
    return text;
  }

  base::Result<std::string> AsJson(const data::Row& row, int64_t position,
                                   const tokenizer::Tokenizer& tokenizer) const {
    report::Json json;
    json.BeginObject().Key("row").Integer(row_).Key("seed").Integer(seed_).Key("position").Integer(position);
    json.Key("pieces").BeginArray();
    for (const data::Piece& piece : row.pieces) {
      json.BeginObject().Key("document").Integer(piece.document).Key("epoch").Integer(piece.epoch);
      json.Key("offset")
          .Integer(piece.offset)
          .Key("begin")
          .Integer(piece.begin)
          .Key("length")
          .Integer(piece.length);
      FT_ASSIGN_OR_RETURN(const std::string text,
                          Decoded(row, piece.begin, piece.begin + piece.length, tokenizer));
      json.Key("text").Text(text).EndObject();
    }
    json.EndArray().Key("ids");
    AppendIds(row.ids, &json);
    json.Key("targets").BeginArray();
    for (const int32_t target : row.targets) {
      if (target == data::kNoTarget) {
        json.Null();
      } else {
        json.Integer(target);
      }
    }
    return json.EndArray().EndObject().text() + "\n";
  }

  ShardFlags flags_;
  int64_t row_ = 0, length_ = 256, seed_ = 0;
  std::string split_ = "train";
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> NewDataInspect() { return std::make_unique<DataInspect>(); }

}  // namespace fusiontree::cli
