// A data set on disk: a folder of token shards with an index, in two parts, to train on and held out.
#ifndef FUSIONTREE_DATA_SHARDS_H_
#define FUSIONTREE_DATA_SHARDS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "data/document_reader.h"
#include "data/pipeline.h"
#include "data/shard_file.h"
#include "data/token_set.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree::data {

// Tells tokenizers apart, whatever file they came from: the tokens, the special ones, and what a probe text
// becomes.
uint64_t TokenizerDigest(const tokenizer::Tokenizer& tokenizer);

// Whether a document of this text is held out: decided by the text alone, so that a text that is there twice,
// or in another data set, lies on the same side. `fraction` of all texts are.
bool IsHeldOut(std::string_view text, double fraction);

// Files one after the other as one set.
class ShardSet : public TokenSet {
 public:
  void Add(std::unique_ptr<ShardFile> file);
  int64_t documents() const override { return first_.back(); }
  int64_t tokens() const override { return tokens_; }
  int64_t targets() const { return targets_; }
  int64_t text_bytes() const { return text_bytes_; }
  int64_t Length(int64_t document) const override;
  int64_t TextBytes(int64_t document) const;
  base::Status Read(int64_t document, int64_t offset, int64_t count, int32_t* ids,
                    uint8_t* targets) const override;
  const std::vector<std::unique_ptr<ShardFile>>& files() const { return files_; }

 private:
  const ShardFile& FileOf(int64_t* document) const;  // and the document in it
  std::vector<std::unique_ptr<ShardFile>> files_;
  std::vector<int64_t> first_ = {0};  // document of each file, and the end
  int64_t tokens_ = 0, targets_ = 0, text_bytes_ = 0;
};

// What index.json says, checked against the files.
struct ShardFolder {
  ShardSet train, held_out;  // held_out may be empty
  uint64_t tokenizer_digest = 0;
  int64_t vocab_size = 0;
  int32_t eos_id = 0;
  double held_out_fraction = 0;
  int64_t empty = 0, skipped = 0;  // documents left out
  bool has_tokenizer = false;      // its files lie in FOLDER/tokenizer

  // `full`: as ShardFile::Open.
  static base::Result<ShardFolder> Open(const std::string& path, bool full = true);
};

inline constexpr const char* kShardIndex = "index.json";
inline constexpr const char* kShardTokenizer = "tokenizer";

struct ShardOptions {
  double held_out = 0.01;
  uint64_t shard_tokens = uint64_t{1} << 27;  // a file is closed once it has so many
  std::string tokenizer_folder;               // its tokenizer files are copied; empty: none
  PipelineOptions pipeline;
};

// Tokenises all documents of `reader` into a new folder. The bytes do not depend on the number of threads.
// Errors: what the documents' are, no documents at all or none to train on, a folder that is there already, a
// full disk; after an error there is no folder.
base::Result<PipelineReport> WriteShards(DocumentReader* reader, const DocumentParser& parser,
                                         const tokenizer::Tokenizer& tokenizer, const std::string& output,
                                         const ShardOptions& options, base::ThreadPool* pool);

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_SHARDS_H_
