// Any bytes as a token shard: an error sentence, or a set whose every document can be read. The input is also
// taken with its checksums made right, so that what lies behind them is reached.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "data/shard_file.h"

namespace {

using fusiontree::data::ShardFile;
using fusiontree::data::ShardHeader;

void Check(const uint8_t* data, size_t size) {
  const int descriptor = memfd_create("shard", MFD_CLOEXEC);
  FT_CHECK(descriptor >= 0 && write(descriptor, data, size) == static_cast<ssize_t>(size));
  for (const bool full : {true, false}) {
    const auto shard = ShardFile::Open("/proc/self/fd/" + std::to_string(descriptor), full);
    if (!shard.ok()) {
      FT_CHECK(!shard.status().message().empty() && shard.status().message().size() < 1024);
      continue;
    }
    const ShardFile& file = **shard;
    int64_t tokens = 0, bytes = 0;
    for (int64_t d = 0; d < file.documents(); ++d) {
      std::vector<int32_t> ids(file.Length(d));
      std::vector<uint8_t> targets(file.Length(d));
      const auto status = file.Read(d, 0, file.Length(d), ids.data(), targets.data());
      FT_CHECK(status.ok() || !full);
      if (status.ok())
        for (const int32_t id : ids)
          FT_CHECK(id >= 0 && static_cast<uint32_t>(id) < file.header().vocab_size);
      tokens += file.Length(d);
      bytes += file.TextBytes(d);
    }
    FT_CHECK(tokens == file.tokens() && static_cast<uint64_t>(bytes) == file.header().text_bytes);
  }
  close(descriptor);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Check(data, size);
  if (size < sizeof(ShardHeader)) return 0;
  std::vector<uint8_t> mended(data, data + size);
  ShardHeader header;
  std::memcpy(&header, data, sizeof header);
  std::memcpy(header.magic, ShardHeader().magic, sizeof header.magic);
  header.version = 1;
  std::vector<uint64_t> words((size - sizeof header) / 8);
  if (!words.empty()) std::memcpy(words.data(), data + sizeof header, words.size() * 8);
  header.data_hash = fusiontree::data::HashWords(words.data(), words.size(), fusiontree::base::kHashStart);
  header.header_hash = fusiontree::base::Hash(&header, offsetof(ShardHeader, header_hash));
  std::memcpy(mended.data(), &header, sizeof header);
  Check(mended.data(), size);
  return 0;
}
