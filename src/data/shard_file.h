// A file of tokenised documents (docs/data.md has the format).
#ifndef FUSIONTREE_DATA_SHARD_FILE_H_
#define FUSIONTREE_DATA_SHARD_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/input_file.h"
#include "data/document.h"
#include "data/output_folder.h"
#include "data/token_set.h"

namespace fusiontree::data {

// The first 80 bytes as they lie on disk, little endian. Behind them come, each filled up with zeros to a
// multiple of 8 bytes: the ids; if has_mask one bit a token (bit t % 8 of byte t / 8: it may be a target);
// then for each document and once more at the end two u64, the tokens and the bytes of text before it.
struct ShardHeader {
  char magic[8] = {'F', 'T', 'T', 'O', 'K', 'E', 'N', 'S'};
  uint32_t version = 1;
  uint32_t id_bytes = 0;  // 2 where vocab_size <= 65536, else 4
  uint32_t vocab_size = 0;
  uint32_t has_mask = 0;
  uint64_t documents = 0;
  uint64_t tokens = 0;
  uint64_t text_bytes = 0;
  uint64_t targets = 0;  // tokens that may be one: not a document's first, not masked
  uint64_t tokenizer_digest = 0;
  uint64_t data_hash = 0;    // HashWords of all behind the header
  uint64_t header_hash = 0;  // base::Hash of the 72 bytes before
};
static_assert(sizeof(ShardHeader) == 80);

// Of what `hash` covers, followed by these words. Tells damage, not malice.
uint64_t HashWords(const uint64_t* words, size_t count, uint64_t hash);

// Read by pread, never mapped: a file that is cut short while it is read is an error, not a signal. Memory:
// 16 bytes a document. Immutable, safe from many threads.
class ShardFile : public TokenSet {
 public:
  // Checks everything that Read relies on. `full` reads the whole file for it: the hash, and that each id is
  // in the vocabulary; without, a damaged id is found by the Read that meets it.
  static base::Result<std::unique_ptr<ShardFile>> Open(const std::string& path, bool full = true);

  const ShardHeader& header() const { return header_; }
  int64_t documents() const override { return static_cast<int64_t>(header_.documents); }
  int64_t tokens() const override { return static_cast<int64_t>(header_.tokens); }
  int64_t Length(int64_t document) const override {
    return static_cast<int64_t>(table_[2 * document + 2] - table_[2 * document]);
  }
  int64_t TextBytes(int64_t document) const {
    return static_cast<int64_t>(table_[2 * document + 3] - table_[2 * document + 1]);
  }
  base::Status Read(int64_t document, int64_t offset, int64_t count, int32_t* ids,
                    uint8_t* targets) const override;

 private:
  explicit ShardFile(checkpoint::InputFile file) : file_(std::move(file)) {}
  base::Status ReadHeader();
  base::Status ReadTable();
  base::Status CheckAll() const;
  uint64_t MaskStart() const;
  uint64_t TableStart() const;

  checkpoint::InputFile file_;
  ShardHeader header_;
  std::vector<uint64_t> table_;  // [documents + 1][tokens before, bytes before]
};

// Writes one such file; documents come one after the other.
class ShardWriter {
 public:
  static base::Result<ShardWriter> Create(const std::string& path, uint32_t vocab_size,
                                          uint64_t tokenizer_digest);

  // Ids must be below vocab_size. Memory: 16 bytes a document, a bit a token.
  base::Status Add(const EncodedDocument& document);
  uint64_t tokens() const { return header_.tokens; }
  // The header as written.
  base::Result<ShardHeader> Finish();

 private:
  explicit ShardWriter(OutputFile file) : file_(std::move(file)) {}
  base::Status WriteWords();

  OutputFile file_;
  ShardHeader header_;
  std::vector<uint8_t> pending_;  // ids not yet written
  std::vector<uint8_t> mask_;
  std::vector<uint64_t> table_;
};

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_SHARD_FILE_H_
