// Any bytes as a config.json: a config or one sentence.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "models/decoder/read_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusiontree::models;
  static const std::vector<const Family*> families = {&Qwen2Family(), &Qwen3Family(), &LlamaFamily(),
                                                      &MistralFamily()};
  const auto config = ReadJsonConfig({reinterpret_cast<const char*>(data), size}, families);
  if (!config.ok()) {
    if (config.status().message().empty()) std::abort();
    return 0;
  }
  if (config->num_heads % config->num_kv_heads != 0 || config->num_heads % config->reduction_slices != 0 ||
      static_cast<int64_t>(config->windows.size()) != config->num_layers)
    std::abort();
  if (config->head_dim <= 256) InverseFrequencies(config.value());
  return 0;
}
