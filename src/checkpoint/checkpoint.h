// A checkpoint as bytes, names and types: a Hugging Face folder (safetensors, single or sharded with an
// index) or one GGUF file. What the names mean is the business of models/ and tokenizer/.
#ifndef FUSIONTREE_CHECKPOINT_CHECKPOINT_H_
#define FUSIONTREE_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "checkpoint/metadata.h"
#include "tensor/dtype.h"

namespace fusiontree::checkpoint {

struct TensorInfo {
  std::string name;
  tensor::DType type = tensor::DType::kF32;
  std::vector<int64_t>
      shape;            // outermost first, as Hugging Face writes it (GGUF's order is reversed on reading)
  uint64_t bytes = 0;   // size of the data
  int file = 0;         // index into the checkpoint's files
  uint64_t offset = 0;  // of the data within that file

  int64_t elements() const;
  std::string ShapeString() const;  // "[896, 4864]"
};

// Open for reading, immutable, safe to read from many threads at once.
class Checkpoint {
 public:
  enum class Format { kSafetensors, kGguf };

  // `path`: a folder with *.safetensors (model.safetensors or model.safetensors.index.json) or a .gguf file.
  // Headers are read and checked in full (docs: every case of bad input is an error sentence); no tensor data
  // is. A lone .safetensors file counts as its folder when a config.json lies beside it.
  static base::Result<Checkpoint> Open(const std::string& path);
  // One safetensors file taken for its tensors alone (a dump of another framework): no config.json is needed.
  static base::Result<Checkpoint> OpenTensors(const std::string& path);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  Format format() const;
  const std::string& path() const;                      // as given to Open
  const std::vector<TensorInfo>& tensors() const;       // sorted by name, names unique
  const TensorInfo* Find(std::string_view name) const;  // null when absent

  // Reads bytes [begin, begin + size) of the tensor's data by pread. Fails when the file has become shorter.
  base::Status Read(const TensorInfo& tensor, uint64_t begin, uint64_t size, void* out) const;
  // Bytes requested through Read since Open, over all threads.
  uint64_t bytes_read() const;

  // GGUF only: the file's key-value metadata (empty map for a folder).
  const Metadata& metadata() const;
  // Folder only: the text of a small file beside the weights ("config.json"); nullopt when it does not exist;
  // an error when it is not a plain file or larger than 256 MiB. For a GGUF file always nullopt.
  base::Result<std::optional<std::string>> ReadText(const std::string& file_name) const;

 private:
  struct State;
  explicit Checkpoint(std::unique_ptr<State> state);
  static Checkpoint FromState(const std::string& path, std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_CHECKPOINT_H_
