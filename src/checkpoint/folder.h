// Finds the weight files of a checkpoint folder and reads their headers.
#ifndef FUSIONTREE_CHECKPOINT_FOLDER_H_
#define FUSIONTREE_CHECKPOINT_FOLDER_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf.h"
#include "checkpoint/input_file.h"

namespace fusiontree::checkpoint {

struct WeightFiles {
  std::vector<InputFile> files;
  std::vector<TensorInfo> tensors;  // any order, names unique; `file` indexes files
  Metadata metadata;                // GGUF only
};

// A folder with model.safetensors or, failing that, model.safetensors.index.json and its shards. A shard may
// not lie outside the folder, also not through a link, except in the `blobs` folder of the hub cache's own
// layout.
base::Result<WeightFiles> OpenFolder(const std::string& folder);
base::Result<WeightFiles> OpenSafetensors(const std::string& path);
base::Result<WeightFiles> OpenGguf(const std::string& path);

// A whole plain file of at most `limit` bytes.
base::Result<std::string> ReadSmallFile(const std::string& path, uint64_t limit);

}  // namespace fusiontree::checkpoint

#endif  // FUSIONTREE_CHECKPOINT_FOLDER_H_
