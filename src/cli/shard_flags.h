// What the commands that look into token shards share.
#ifndef FUSIONTREE_CLI_SHARD_FLAGS_H_
#define FUSIONTREE_CLI_SHARD_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/options.h"
#include "data/shards.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::cli {

struct ShardFlags {
  std::string folder;
  std::optional<std::string> tokenizer;

  void Declare(Options& options);
  // The one that lies with the shards, or --tokenizer; checked to be that which made them.
  base::Result<tokenizer::Tokenizer> OpenTokenizer(const data::ShardFolder& shards) const;
};

// A document's text, without its end-of-text token.
base::Result<std::string> DocumentText(const data::ShardSet& set, int64_t document,
                                       const tokenizer::Tokenizer& tokenizer);

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_SHARD_FLAGS_H_
