// Writes one safetensors file, tensor data in any order of arrival, never holding more than the caller's
// pieces.
#ifndef FUSIONTREE_CHECKPOINT_SAFETENSORS_WRITER_H_
#define FUSIONTREE_CHECKPOINT_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"

namespace fusiontree::checkpoint {

struct TensorSpec {
  std::string name;
  tensor::DType type = tensor::DType::kF32;  // not block-quantised
  std::vector<int64_t> shape;
};

// The file appears under its name only when Finish succeeds; until then the data is in a temporary file
// beside it, which the destructor removes. One thread at a time.
class SafetensorsWriter {
 public:
  // Wide types come first in the data, so that each tensor is aligned to its element. `metadata` goes into
  // the header; {"format", "pt"} is what Transformers asks for.
  static base::Result<SafetensorsWriter> Create(const std::string& path,
                                                const std::vector<TensorSpec>& tensors,
                                                const std::map<std::string, std::string>& metadata = {
                                                    {"format", "pt"}});
  SafetensorsWriter(SafetensorsWriter&& other) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&& other) noexcept;
  ~SafetensorsWriter();

  // Puts `bytes` bytes after those that this tensor already has. Tensors may take turns.
  base::Status Append(std::string_view name, const void* data, uint64_t bytes);
  // Fails, naming the tensor, when one is not complete; else the file is flushed to disk and given its name.
  base::Status Finish();

 private:
  struct Slot {
    uint64_t offset = 0;   // in the file
    uint64_t bytes = 0;    // in all
    uint64_t written = 0;  // so far
  };
  SafetensorsWriter() = default;
  base::Status WriteAt(uint64_t offset, const void* data, uint64_t bytes);

  int descriptor_ = -1;
  std::string path_, temporary_;
  std::map<std::string, Slot, std::less<>> slots_;
};

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_SAFETENSORS_WRITER_H_
