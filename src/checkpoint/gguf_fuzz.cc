// Any bytes as a GGUF file, whole and as the start of a larger one.
#include "base/check.h"
#include "checkpoint/gguf.h"

namespace {

void Check(const uint8_t* data, size_t size, uint64_t file_size) {
  bool needs_more = false;
  const auto result = fusiontree::checkpoint::ParseGguf({data, size}, file_size, &needs_more);
  if (!result.ok()) {
    FT_CHECK(!result.status().message().empty() && result.status().message().size() < 4096);
    return;
  }
  FT_CHECK(!needs_more);
  for (const auto& info : (*result).tensors) {
    FT_CHECK(info.bytes > 0 && info.bytes <= file_size && info.offset <= file_size - info.bytes);
    FT_CHECK(fusiontree::tensor::BytesFor(info.type, static_cast<size_t>(info.elements())) == info.bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Check(data, size, size);
  Check(data, size, size + (uint64_t{1} << 30));
  return 0;
}
