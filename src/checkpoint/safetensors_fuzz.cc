// Any bytes as a safetensors file, and the same bytes as a bare header and as a shard index.
#include "base/check.h"
#include "checkpoint/safetensors.h"

namespace {

using fusiontree::checkpoint::kSafetensorsPrefix;

void CheckHeader(std::string_view header, uint64_t data_size) {
  const auto result = fusiontree::checkpoint::ParseSafetensorsHeader(header, 100, data_size);
  if (!result.ok()) {
    FT_CHECK(!result.status().message().empty() && result.status().message().size() < 4096);
    return;
  }
  uint64_t covered = 100;
  for (const auto& info : *result) {
    FT_CHECK(info.offset == covered);
    FT_CHECK(fusiontree::tensor::BytesFor(info.type, static_cast<size_t>(info.elements())) == info.bytes);
    covered += info.bytes;
  }
  FT_CHECK(covered == 100 + data_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto length = fusiontree::checkpoint::SafetensorsHeaderSize({data, size}, size);
  if (length.ok()) {
    const uint64_t end = kSafetensorsPrefix + length.value();
    CheckHeader(text.substr(kSafetensorsPrefix, length.value()), size - end);
  }
  CheckHeader(text, 64);
  const auto index = fusiontree::checkpoint::ParseSafetensorsIndex(text);
  if (index.ok()) {
    for (const auto& [name, shard] : *index) FT_CHECK(!shard.empty() && shard.find('/') == std::string::npos);
  }
  return 0;
}
