#include "data/shard_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/bytes.h"
#include "base/hash.h"

namespace fusiontree::data {
namespace {

using base::BadInput;
using base::Quote;

constexpr uint64_t kChunk = 1 << 20;           // bytes read or written at once: a multiple of 8
constexpr uint64_t kMost = uint64_t{1} << 48;  // documents and tokens: their sizes in bytes cannot wrap

uint64_t Padded(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

int32_t IdAt(const uint8_t* ids, uint32_t id_bytes, size_t i) {
  if (id_bytes == 2) {
    uint16_t id;
    std::memcpy(&id, ids + 2 * i, 2);
    return id;
  }
  uint32_t id;
  std::memcpy(&id, ids + 4 * i, 4);
  return static_cast<int32_t>(id);  // above 2^31: negative, which no vocabulary has
}

bool InVocabulary(int32_t id, uint32_t vocab_size) {
  return id >= 0 && static_cast<uint32_t>(id) < vocab_size;
}

}  // namespace

uint64_t HashWords(const uint64_t* words, size_t count, uint64_t hash) {
  for (size_t i = 0; i < count; ++i) {
    hash = (hash ^ words[i]) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return hash;
}

uint64_t ShardFile::MaskStart() const {
  return sizeof(ShardHeader) + Padded(header_.tokens * header_.id_bytes);
}
uint64_t ShardFile::TableStart() const {
  return MaskStart() + (header_.has_mask != 0 ? Padded((header_.tokens + 7) / 8) : 0);
}

base::Result<std::unique_ptr<ShardFile>> ShardFile::Open(const std::string& path, bool full) {
  FT_ASSIGN_OR_RETURN(checkpoint::InputFile file, checkpoint::InputFile::Open(path));
  std::unique_ptr<ShardFile> shard(new ShardFile(std::move(file)));
  base::Status status = shard->ReadHeader();
  if (status.ok()) status = shard->ReadTable();
  if (status.ok() && full) status = shard->CheckAll();
  if (!status.ok()) return status.WithContext(Quote(path));
  return shard;
}

base::Status ShardFile::ReadHeader() {
  const ShardHeader expected;
  if (file_.size() < sizeof header_)
    return BadInput("it has {} bytes, fewer than the {} of a header", file_.size(), sizeof header_);
  FT_RETURN_IF_ERROR(file_.ReadAt(0, sizeof header_, &header_));
  if (std::memcmp(header_.magic, expected.magic, sizeof header_.magic) != 0)
    return BadInput("it does not begin with {}, so it is no token shard",
                    Quote(std::string_view(expected.magic, sizeof expected.magic)));
  if (header_.version != expected.version)
    return BadInput("it has version {} of the format, but this program reads version {}", header_.version,
                    expected.version);
  if (header_.header_hash != base::Hash(&header_, offsetof(ShardHeader, header_hash)))
    return BadInput("its header is damaged: the checksum differs");
  if (header_.id_bytes != (header_.vocab_size <= 65536 ? 2 : 4) || header_.has_mask > 1 ||
      header_.vocab_size == 0 || header_.vocab_size > INT32_MAX)
    return BadInput("its header is wrong: {} bytes an id for a vocabulary of {}, mask {}", header_.id_bytes,
                    header_.vocab_size, header_.has_mask);
  if (header_.documents == 0 || header_.documents > header_.tokens || header_.tokens > kMost)
    return BadInput("its header is wrong: {} documents of {} tokens", header_.documents, header_.tokens);
  const uint64_t size = TableStart() + 16 * (header_.documents + 1);
  if (file_.size() != size)
    return BadInput("it has {} bytes, but {} tokens in {} documents take {}", file_.size(), header_.tokens,
                    header_.documents, size);
  return base::OkStatus();
}

base::Status ShardFile::ReadTable() {
  table_.resize(2 * (header_.documents + 1));
  FT_RETURN_IF_ERROR(file_.ReadAt(TableStart(), table_.size() * 8, table_.data()));
  for (size_t d = 0; d < header_.documents; ++d)
    if (table_[2 * d + 2] <= table_[2 * d] || table_[2 * d + 3] < table_[2 * d + 1])
      return BadInput("document {} begins at token {} and byte {}, but the next one at {} and {}", d,
                      table_[2 * d], table_[2 * d + 1], table_[2 * d + 2], table_[2 * d + 3]);
  const size_t end = 2 * header_.documents;
  if (table_[0] != 0 || table_[1] != 0 || table_[end] != header_.tokens ||
      table_[end + 1] != header_.text_bytes)
    return BadInput("its documents are tokens {} to {} and bytes {} to {}, but it has {} tokens of {} bytes",
                    table_[0], table_[end], table_[1], table_[end + 1], header_.tokens, header_.text_bytes);
  return base::OkStatus();
}

base::Status ShardFile::CheckAll() const {
  std::vector<uint64_t> words(kChunk / 8);
  uint64_t hash = base::kHashStart, token = 0;
  for (uint64_t at = sizeof header_; at < file_.size();) {
    const uint64_t size = std::min(kChunk, file_.size() - at);
    FT_RETURN_IF_ERROR(file_.ReadAt(at, size, words.data()));
    hash = HashWords(words.data(), size / 8, hash);
    const uint8_t* const ids = reinterpret_cast<const uint8_t*>(words.data());
    const uint64_t count = std::min(size / header_.id_bytes, header_.tokens - token);
    for (uint64_t i = 0; i < count; ++i)
      if (!InVocabulary(IdAt(ids, header_.id_bytes, i), header_.vocab_size))
        return BadInput("token {} is {}, which is not in the vocabulary of {}", token + i,
                        static_cast<uint32_t>(IdAt(ids, header_.id_bytes, i)), header_.vocab_size);
    token += count;
    at += size;
  }
  if (hash != header_.data_hash) return BadInput("its data are damaged: the checksum differs");
  return base::OkStatus();
}

base::Status ShardFile::Read(int64_t document, int64_t offset, int64_t count, int32_t* ids,
                             uint8_t* targets) const {
  FT_CHECK(document >= 0 && document < documents() && offset >= 0 && count >= 0 &&
           offset + count <= Length(document));
  const uint64_t first = table_[2 * document] + static_cast<uint64_t>(offset);
  std::vector<uint8_t> bytes(count * header_.id_bytes);
  FT_RETURN_IF_ERROR(file_.ReadAt(sizeof header_ + first * header_.id_bytes, bytes.size(), bytes.data()));
  for (int64_t i = 0; i < count; ++i) {
    ids[i] = IdAt(bytes.data(), header_.id_bytes, i);
    if (!InVocabulary(ids[i], header_.vocab_size))
      return BadInput("{}: token {} is {}, which is not in the vocabulary of {}", Quote(file_.path()),
                      first + static_cast<uint64_t>(i), static_cast<uint32_t>(ids[i]), header_.vocab_size);
  }
  if (header_.has_mask == 0) {
    std::fill_n(targets, count, 1);
    return base::OkStatus();
  }
  if (count == 0) return base::OkStatus();
  const uint64_t first_byte = first / 8, last_byte = (first + static_cast<uint64_t>(count) - 1) / 8;
  bytes.resize(last_byte - first_byte + 1);
  FT_RETURN_IF_ERROR(file_.ReadAt(MaskStart() + first_byte, bytes.size(), bytes.data()));
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t bit = first + static_cast<uint64_t>(i);
    targets[i] = bytes[bit / 8 - first_byte] >> (bit % 8) & 1;
  }
  return base::OkStatus();
}

base::Result<ShardWriter> ShardWriter::Create(const std::string& path, uint32_t vocab_size,
                                              uint64_t tokenizer_digest) {
  FT_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  ShardWriter writer(std::move(file));
  writer.header_.vocab_size = vocab_size;
  writer.header_.id_bytes = vocab_size <= 65536 ? 2 : 4;
  writer.header_.tokenizer_digest = tokenizer_digest;
  writer.header_.data_hash = base::kHashStart;
  writer.table_ = {0, 0};
  FT_RETURN_IF_ERROR(writer.file_.Write(&writer.header_, sizeof writer.header_));  // its place
  return writer;
}

// Whole words of pending_; the rest waits.
base::Status ShardWriter::WriteWords() {
  const size_t bytes = pending_.size() & ~size_t{7};
  std::vector<uint64_t> words(bytes / 8);
  std::memcpy(words.data(), pending_.data(), bytes);
  header_.data_hash = HashWords(words.data(), words.size(), header_.data_hash);
  FT_RETURN_IF_ERROR(file_.Write(words.data(), bytes));
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(bytes));
  return base::OkStatus();
}

base::Status ShardWriter::Add(const EncodedDocument& document) {
  FT_CHECK(!document.ids.empty() &&
           (document.targets.empty() || document.targets.size() == document.ids.size()));
  for (size_t i = 0; i < document.ids.size(); ++i) {
    const int32_t id = document.ids[i];
    FT_CHECK(InVocabulary(id, header_.vocab_size));
    for (uint32_t byte = 0; byte < header_.id_bytes; ++byte)
      pending_.push_back(static_cast<uint8_t>(static_cast<uint32_t>(id) >> 8 * byte));
    const bool target = document.targets.empty() || document.targets[i];
    const uint64_t bit = header_.tokens + i;
    if (bit / 8 == mask_.size()) mask_.push_back(0);
    mask_[bit / 8] = static_cast<uint8_t>(mask_[bit / 8] | target << bit % 8);
    header_.targets += target && i > 0;
  }
  header_.has_mask |= !document.targets.empty();
  header_.documents += 1;
  header_.tokens += document.ids.size();
  header_.text_bytes += document.text_bytes;
  table_.push_back(header_.tokens);
  table_.push_back(header_.text_bytes);
  return pending_.size() >= kChunk ? WriteWords() : base::OkStatus();
}

base::Result<ShardHeader> ShardWriter::Finish() {
  pending_.resize(Padded(pending_.size()));
  if (header_.has_mask != 0) {
    mask_.resize(Padded(mask_.size()));
    pending_.insert(pending_.end(), mask_.begin(), mask_.end());
  }
  const uint8_t* const table = reinterpret_cast<const uint8_t*>(table_.data());
  pending_.insert(pending_.end(), table, table + 8 * table_.size());
  FT_RETURN_IF_ERROR(WriteWords());
  header_.header_hash = base::Hash(&header_, offsetof(ShardHeader, header_hash));
  FT_RETURN_IF_ERROR(file_.WriteAt(0, &header_, sizeof header_));
  FT_RETURN_IF_ERROR(file_.Close());
  return header_;
}

}  // namespace fusiontree::data
