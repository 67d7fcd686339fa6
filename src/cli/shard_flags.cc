#include "cli/shard_flags.h"

#include "cli/tokens.h"

namespace fusiontree::cli {

void ShardFlags::Declare(Options& options) {
  options.Argument("FOLDER", "what data tokenize wrote", &folder);
  options.Text("--tokenizer", "MODEL", "whose tokenizer made them, where it does not lie with them",
               &tokenizer);
}

base::Result<tokenizer::Tokenizer> ShardFlags::OpenTokenizer(const data::ShardFolder& shards) const {
  if (!tokenizer && !shards.has_tokenizer)
    return base::BadInput("{}: no tokenizer lies with the shards; name it with --tokenizer", folder);
  const std::string from = tokenizer.value_or(folder + "/" + data::kShardTokenizer);
  FT_ASSIGN_OR_RETURN(tokenizer::Tokenizer opened, LoadTokenizer(from));
  if (data::TokenizerDigest(opened) != shards.tokenizer_digest)
    return base::BadInput("{}: its tokenizer is not the one that made the shards in {}", from, folder);
  return opened;
}

base::Result<std::string> DocumentText(const data::ShardSet& set, int64_t document,
                                       const tokenizer::Tokenizer& tokenizer) {
  std::vector<int32_t> ids(set.Length(document));
  std::vector<uint8_t> targets(ids.size());
  FT_RETURN_IF_ERROR(set.Read(document, 0, set.Length(document), ids.data(), targets.data()));
  if (tokenizer.eos_id() && ids.back() == *tokenizer.eos_id()) ids.pop_back();
  return tokenizer.Decode(ids, /*skip_special=*/false);
}

}  // namespace fusiontree::cli
