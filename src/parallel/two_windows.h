// A rank's own pair of windows, growing on demand: what Exchange gave last stays while the next part is
// written.
#ifndef FUSIONTREE_PARALLEL_TWO_WINDOWS_H_
#define FUSIONTREE_PARALLEL_TWO_WINDOWS_H_

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "tensor/buffer.h"

namespace fusiontree::parallel {

class TwoWindows {
 public:
  // Window `turn` % 2: [floats], 64-byte aligned, never null; contents are lost when it grows.
  float* At(int64_t turn, int64_t floats) {
    FT_CHECK(floats >= 0);
    tensor::Buffer& window = windows_[turn % 2];
    const size_t bytes = std::max<size_t>(static_cast<size_t>(floats) * sizeof(float), 64);
    if (window.size() < bytes) {
      window = tensor::Buffer();  // give back before taking
      base::Result<tensor::Buffer> grown = tensor::Buffer::Create(bytes);
      FT_CHECK(grown.ok());
      window = std::move(grown).value();
    }
    return reinterpret_cast<float*>(window.data());
  }

 private:
  tensor::Buffer windows_[2];
};

}  // namespace fusiontree::parallel

#endif  // FUSIONTREE_PARALLEL_TWO_WINDOWS_H_
