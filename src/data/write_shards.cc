// Documents to token shards.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "data/output_folder.h"
#include "data/shards.h"

namespace fusiontree::data {
namespace {

using Json = nlohmann::ordered_json;

// The files of one part of the data set.
class PartWriter {
 public:
  PartWriter(std::string folder, std::string name, uint32_t vocab_size, uint64_t digest,
             uint64_t shard_tokens)
      : folder_(std::move(folder)),
        name_(std::move(name)),
        vocab_size_(vocab_size),
        digest_(digest),
        shard_tokens_(shard_tokens) {}

  base::Status Add(const EncodedDocument& document) {
    if (!writer_) {
      files_.push_back(fmt::format("{}-{:05}.tokens", name_, files_.size()));
      FT_ASSIGN_OR_RETURN(ShardWriter writer,
                          ShardWriter::Create(folder_ + "/" + files_.back(), vocab_size_, digest_));
      writer_.emplace(std::move(writer));
    }
    FT_RETURN_IF_ERROR(writer_->Add(document));
    return writer_->tokens() >= shard_tokens_ ? Close() : base::OkStatus();
  }

  base::Status Close() {
    if (!writer_) return base::OkStatus();
    FT_ASSIGN_OR_RETURN(const ShardHeader header, writer_->Finish());
    writer_.reset();
    documents_ += header.documents;
    tokens_ += header.tokens;
    targets_ += header.targets;
    text_bytes_ += header.text_bytes;
    return base::OkStatus();
  }

  Json Index() const {
    Json part;
    part["documents"] = documents_;
    part["tokens"] = tokens_;
    part["targets"] = targets_;
    part["text_bytes"] = text_bytes_;
    part["files"] = files_;
    return part;
  }

 private:
  std::string folder_, name_;
  uint32_t vocab_size_;
  uint64_t digest_, shard_tokens_;
  std::optional<ShardWriter> writer_;
  std::vector<std::string> files_;
  uint64_t documents_ = 0, tokens_ = 0, targets_ = 0, text_bytes_ = 0;
};

base::Status CopyTokenizer(const std::string& from, const OutputFolder& to) {
  for (const char* name : tokenizer::kTokenizerFiles) {
    const std::string path = from + "/" + name;
    std::error_code error;
    if (std::filesystem::exists(path, error))
      FT_RETURN_IF_ERROR(to.CopyFile(path, std::string(kShardTokenizer) + "/" + name));
  }
  return base::OkStatus();
}

}  // namespace

base::Result<PipelineReport> WriteShards(DocumentReader* reader, const DocumentParser& parser,
                                         const tokenizer::Tokenizer& tokenizer, const std::string& output,
                                         const ShardOptions& options, base::ThreadPool* pool) {
  if (!tokenizer.eos_id()) return base::BadInput("the tokenizer names no end-of-text token (eos_token)");
  FT_ASSIGN_OR_RETURN(OutputFolder folder, OutputFolder::Create(output));
  const uint32_t vocab_size = static_cast<uint32_t>(tokenizer.vocab_size());
  const uint64_t digest = TokenizerDigest(tokenizer);
  PartWriter train(folder.path(), "train", vocab_size, digest, options.shard_tokens);
  PartWriter held_out(folder.path(), "held_out", vocab_size, digest, options.shard_tokens);
  struct Slot {
    EncodedDocument document;
    bool held_out = false;
  };
  std::vector<Slot> batch(kBatchDocuments);
  int64_t train_documents = 0;
  const auto work = [&](Document document, size_t slot) -> base::Status {
    batch[slot].held_out = IsHeldOut(document.text, options.held_out);
    FT_ASSIGN_OR_RETURN(batch[slot].document, EncodeDocument(document, tokenizer));
    return base::OkStatus();
  };
  const auto take = [&](const std::vector<size_t>& slots) -> base::Status {
    for (const size_t slot : slots) {
      train_documents += !batch[slot].held_out;
      FT_RETURN_IF_ERROR((batch[slot].held_out ? held_out : train).Add(batch[slot].document));
      batch[slot].document = {};
    }
    return base::OkStatus();
  };
  FT_ASSIGN_OR_RETURN(const PipelineReport report,
                      RunPipeline(reader, parser, pool, options.pipeline, work, take));
  if (report.documents == 0)
    return base::BadInput("there is no document to tokenise ({} without text, {} invalid)", report.empty,
                          report.skipped);
  if (train_documents == 0)
    return base::BadInput(
        "all {} documents are held out, so there is none to train on; cut the text into more, or "
        "hold out less",
        report.documents);
  FT_RETURN_IF_ERROR(train.Close());
  FT_RETURN_IF_ERROR(held_out.Close());
  Json index;
  index["format"] = "fusiontree token shards";
  index["version"] = 1;
  index["vocab_size"] = vocab_size;
  index["eos_id"] = *tokenizer.eos_id();
  index["tokenizer_digest"] = fmt::format("{:016x}", digest);
  index["tokenizer"] = nullptr;
  if (!options.tokenizer_folder.empty()) {
    FT_RETURN_IF_ERROR(CopyTokenizer(options.tokenizer_folder, folder));
    index["tokenizer"] = kShardTokenizer;
  }
  index["held_out_fraction"] = options.held_out;
  index["empty_documents"] = report.empty;
  index["skipped_documents"] = report.skipped;
  index["train"] = train.Index();
  index["held_out"] = held_out.Index();
  FT_RETURN_IF_ERROR(folder.WriteFile(kShardIndex, index.dump(2) + "\n"));
  FT_RETURN_IF_ERROR(folder.Commit());
  return report;
}

}  // namespace fusiontree::data
