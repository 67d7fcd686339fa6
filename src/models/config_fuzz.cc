// Any bytes as a config.json of any family: a spec or one sentence.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "models/decoder/family.h"
#include "models/fusiontree/config.h"
#include "models/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusiontree::models;
  const auto spec = ReadSpec(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!spec.ok()) {
    if (spec.status().message().empty()) std::abort();
    return 0;
  }
  const Config& config = (*spec)->config();
  const HeadCounts heads = (*spec)->heads();
  if (heads.heads % heads.kv_heads != 0 || config.num_layers < 1 || config.reduction_slices < 1) std::abort();
  if (const auto* decoder = dynamic_cast<const DecoderConfig*>(&config)) {
    if (heads.heads % config.reduction_slices != 0 ||
        static_cast<int64_t>(decoder->windows.size()) != config.num_layers)
      std::abort();
    if (decoder->head_dim <= 256) InverseFrequencies(*decoder);
  }
  if (const auto* fusion = dynamic_cast<const FusionTreeConfig*>(&config)) {
    if (fusion->global_heads % fusion->group() != 0 || heads.heads % config.reduction_slices != 0 ||
        static_cast<int64_t>(fusion->windows.size()) != config.num_layers)
      std::abort();
    for (const int64_t window : fusion->windows)
      if (window < 1) std::abort();
  }
  return 0;
}
