// FNV-1a, 64 bits: tells things apart that differ by accident, not by design.
#ifndef FUSIONTREE_BASE_HASH_H_
#define FUSIONTREE_BASE_HASH_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fusiontree::base {

constexpr uint64_t kHashStart = 0xcbf29ce484222325u;

// Of what `hash` covers, followed by these bytes.
inline uint64_t Hash(const void* data, size_t size, uint64_t hash = kHashStart) {
  const unsigned char* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}
inline uint64_t Hash(std::string_view text, uint64_t hash = kHashStart) {
  return Hash(text.data(), text.size(), hash);
}

}  // namespace fusiontree::base

#endif  // FUSIONTREE_BASE_HASH_H_
