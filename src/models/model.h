// A loaded model: what the engine, verify and later the trainer know of it. One definition serves all of
// them.
#ifndef FUSIONTREE_MODELS_MODEL_H_
#define FUSIONTREE_MODELS_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cache/batch.h"
#include "cache/block_pool.h"
#include "checkpoint/checkpoint.h"
#include "models/config.h"
#include "ops/context.h"

namespace fusiontree::models {

// How the weights and products are typed (table under R9 of docs/numerics.md).
enum class ComputeType {
  kAuto,  // as the file holds them
  kF32,   // fp32 products whatever the file holds
  kBf16,  // every matrix rounded to bf16
};
enum class CacheType { kAuto, kF32, kBf16 };

struct ModelOptions {
  ComputeType compute = ComputeType::kAuto;
  CacheType cache = CacheType::kAuto;
  // Of a FusionTree: what each layer runs as ("hybrid", "mamba", "attention", "local"; see
  // docs/fusiontree.md), instead of what the checkpoint holds; a branch that is left out is zero, with the
  // bits of the pruned checkpoint. Empty: as it is.
  std::vector<std::string> layer_plan;
  // With what the backward needs: transposed matrices and gradients. Not of a model that is cut over ranks.
  bool trainable = false;
  std::function<void(double)> progress;  // fraction loaded, 0..1; called on the loading thread
};

class Trainable;

// Immutable once loaded, but for Trainable::Refresh. Forward and Head may be called by one thread at a time
// (with the context's pool).
class Model {
 public:
  virtual ~Model() = default;

  virtual const Config& config() const = 0;
  virtual const cache::CacheLayout& cache_layout() const = 0;
  virtual std::string TypeName() const = 0;  // of weights and products: "bf16", "f32", "bf16 in f32", "mixed"
  virtual std::string CacheTypeName() const = 0;  // "bf16" or "f32"
  virtual size_t weight_bytes() const = 0;        // packed weights and vectors in memory
  virtual size_t streamed_bytes()
      const = 0;  // of them, what one decode step reads whole: all but an untied embedding
  // Probe point whose value is a layer's output.
  virtual std::string_view layer_output() const = 0;
  virtual double FlopsPerToken(int64_t context) const = 0;  // matrices + causal attention, without the head
  virtual double HeadFlops() const = 0;                     // of one row of logits

  // Of a model cut over ranks: why its last Forward or Head was given up.
  virtual base::Status status() const { return base::OkStatus(); }

  // Of a model loaded to be trained, else null.
  virtual Trainable* trainable() { return nullptr; }

  virtual std::unique_ptr<cache::SequenceState> NewSequence(cache::BlockPool* pool) const = 0;

  // Row strides in floats, whole panels: >= hidden size and >= vocabulary size; what lies past them is zero.
  virtual int64_t hidden_stride() const = 0;
  virtual int64_t logits_stride() const = 0;

  // Runs every row of the batch through the layers and the final norm: hidden [T, hidden_stride].
  // row_ok[t] becomes 0 where a non-finite value was met on the way (R11). With a tape in the context,
  // `hidden` is an array of it, and the batch's sequences stay as they are until its backward.
  virtual void Forward(ops::Context& context, const cache::Batch& batch, float* hidden,
                       uint8_t* row_ok) const = 0;
  // logits [count, logits_stride] of the chosen rows of `hidden`.
  virtual void Head(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
                    float* logits) const = 0;
};

// Reads config and weights; every tensor of the checkpoint is consumed exactly once or the load fails naming
// it.
base::Result<std::unique_ptr<Model>> LoadModel(const checkpoint::Checkpoint& checkpoint,
                                               const ModelOptions& options, ops::Context& context);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_MODEL_H_
