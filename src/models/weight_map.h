// A model's tensors as data: what each is called in other people's files, its shape, and how ranks would cut
// it.
#ifndef FUSIONTREE_MODELS_WEIGHT_MAP_H_
#define FUSIONTREE_MODELS_WEIGHT_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"

namespace fusiontree::models {

// How a degree-t run cuts a tensor (R2, R3): by outputs (rows), by inputs (columns, in slices), by heads, or
// not.
enum class Sharding : uint8_t { kReplicated, kRows, kColumns, kQueryHeads, kKvHeads, kVocabulary };

struct TensorRule {
  std::string name;            // in a Hugging Face folder
  std::string gguf_name;       // in a GGUF file
  std::vector<int64_t> shape;  // outermost first
  Sharding sharding = Sharding::kReplicated;
  // Of llama.cpp's "llama" architecture: rows of each head are interleaved (2i + j holds row j·d/2 + i); else
  // 0.
  int64_t interleaved_head = 0;
  // A rule may be of some rows of a tensor only, which stacks several: rows [first_row, first_row + shape[0])
  // of all_rows. 0: the whole tensor.
  int64_t first_row = 0, all_rows = 0;
  // Of a layer that has lost heads: what the whole layer has. kQueryHeads, kKvHeads: rows of one head, when
  // not all heads are there; kColumns: columns, the missing ones zeros that no file holds.
  int64_t head_rows = 0, all_columns = 0;
  bool f32_only = false;  // stored in fp32, whatever the other tensors are

  std::vector<int64_t> FileShape() const;
};

// Of a tensor that no GGUF file holds.
TensorRule MakeRule(std::string name, std::vector<int64_t> shape, Sharding sharding = Sharding::kReplicated);

// The tensor of a rule in the checkpoint, its shape and type checked; an error names what is missing or
// wrong.
base::Result<const checkpoint::TensorInfo*> FindTensor(const checkpoint::Checkpoint& checkpoint,
                                                       const TensorRule& rule);

// Fails naming the first tensor of the checkpoint that is in no rule and not a known harmless leftover.
base::Status RefuseLeftovers(const checkpoint::Checkpoint& checkpoint, const std::vector<TensorRule>& rules,
                             const std::vector<std::string>& also_known);

// Fails unless two tensors of one shape and type hold the same bytes in these rows.
base::Status RequireEqual(const checkpoint::Checkpoint& checkpoint, const checkpoint::TensorInfo& a,
                          const checkpoint::TensorInfo& b, base::Range rows);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_WEIGHT_MAP_H_
