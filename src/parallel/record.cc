#include "parallel/record.h"

#include <algorithm>

namespace fusiontree::parallel {
namespace {

constexpr uint32_t kMagic = 0x46545232;  // "FTR2": raised with every change of a record
constexpr size_t kInline = 1000;         // payload that travels with the header
constexpr uint64_t kMostBytes = uint64_t{1} << 32;

struct Header {
  uint32_t magic;
  RecordKind kind;
  uint64_t size;
  char start[kInline];
};

struct Verdict {
  uint32_t ok;
  uint32_t kind;
  char message[1016];
};

}  // namespace

base::Status RecordReader::Done() const {
  if (!short_ && at_ == bytes_.size()) return base::OkStatus();
  return base::Failed("a record of {} bytes does not have the form that this rank expects", bytes_.size());
}

void Send(Communicator& communicator, RecordKind kind, const RecordWriter& payload) {
  const std::vector<char>& bytes = payload.bytes();
  Header header{kMagic, kind, bytes.size(), {}};
  std::copy_n(bytes.begin(), std::min(bytes.size(), kInline), header.start);
  communicator.Broadcast(&header, sizeof(header));
  if (bytes.size() > kInline)
    communicator.Broadcast(const_cast<char*>(bytes.data()) + kInline, bytes.size() - kInline);
}

base::Result<Record> Receive(Communicator& communicator) {
  Header header{};
  communicator.Broadcast(&header, sizeof(header));
  if (!communicator.status().ok()) return communicator.status();
  if (header.magic != kMagic || header.size > kMostBytes)
    return base::Failed("rank 0 sent something that is not a record of this program");
  Record record{header.kind, std::string(header.start, std::min<size_t>(header.size, kInline))};
  if (header.size > kInline) {
    record.payload.resize(header.size);
    communicator.Broadcast(record.payload.data() + kInline, record.payload.size() - kInline);
    if (!communicator.status().ok()) return communicator.status();
  }
  return record;
}

base::Status Agree(Communicator& communicator, const base::Status& status) {
  Verdict mine{};
  mine.ok = status.ok();
  if (!status.ok()) {
    mine.kind = static_cast<uint32_t>(status.kind());
    const size_t size = std::min(status.message().size(), sizeof(mine.message) - 1);
    std::copy_n(status.message().begin(), size, mine.message);
  }
  std::vector<Verdict> all(static_cast<size_t>(communicator.size()));
  communicator.AllGather(&mine, sizeof(mine), all.data());
  if (!communicator.status().ok()) return communicator.status();
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].ok) continue;
    all[rank].message[sizeof(Verdict::message) - 1] = '\0';
    const base::Status first(static_cast<base::ErrorKind>(all[rank].kind), all[rank].message);
    return rank == 0 ? first : first.WithContext(fmt::format("rank {}", rank));
  }
  return base::OkStatus();
}

}  // namespace fusiontree::parallel
