// What every model here has around its layers: the embedding, the final norm, the head, the shard of a rank,
// types and cache. A family adds its layers.
#ifndef FUSIONTREE_MODELS_LANGUAGE_MODEL_H_
#define FUSIONTREE_MODELS_LANGUAGE_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "models/spec.h"
#include "models/trainable.h"
#include "models/weight_store.h"
#include "nn/parallel_linear.h"
#include "ops/attention.h"
#include "ops/norm.h"

namespace fusiontree::models {

// On a rank of several (ops::Context::ranks) it holds and computes that rank's shard; all ranks call Forward
// and Head with the same arguments at the same time. Head's logits are rank 0's.
class LanguageModel : public Model, public Trainable {
 public:
  const cache::CacheLayout& cache_layout() const override { return layout_; }
  std::string TypeName() const override;
  std::string CacheTypeName() const override;
  size_t weight_bytes() const override { return store_.bytes(); }
  size_t streamed_bytes() const override;
  double HeadFlops() const override;
  std::unique_ptr<cache::SequenceState> NewSequence(cache::BlockPool* pool) const override;
  int64_t hidden_stride() const override { return ops::PaddedColumns(config().hidden_size); }
  int64_t logits_stride() const override { return ops::PaddedColumns(config().vocab_size); }
  void Forward(ops::Context& context, const cache::Batch& batch, float* hidden,
               uint8_t* row_ok) const override;
  void Head(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
            float* logits) const override;

  Trainable* trainable() override { return store_.trainable() ? this : nullptr; }
  const std::vector<Parameter>& parameters() const override { return store_.parameters(); }
  void ZeroGradients(ops::Context& context) override { store_.ZeroGradients(context); }
  void ReadGradient(size_t parameter, float* out) const override { store_.ReadGradient(parameter, out); }
  void HeadBackward(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
                    const float* dlogits) const override;
  base::Status Refresh(ops::Context& context, const std::vector<const float*>& values) override {
    return store_.Refresh(context, values);
  }

 protected:
  LanguageModel(const checkpoint::Checkpoint& checkpoint, const Spec& spec, const ModelOptions& options,
                const kernels::Table& table, Shard shard);

  // The tensors outside the layers. `head` is empty when tied; then the file may carry a copy of the
  // embedding under this name.
  struct Outer {
    TensorRule embedding;
    std::vector<TensorRule> head;
    TensorRule norm;
    std::vector<TensorRule> norm_bias;  // one of a LayerNorm, or none
    double eps = 1e-6;
    bool layer_norm = false;
    std::string tied_copy;                // "": no such name
    std::vector<std::string> also_known;  // tensors that are not read
  };
  // Plans these and, by `add_layers`, the layers' tensors in store_; refuses leftovers; reads everything;
  // decides the cache's type (of `dtype auto`: bf16 when every layer matrix has bf16 inputs) and layout.
  base::Status LoadWeights(const checkpoint::Checkpoint& checkpoint, const Spec& spec, const Outer& outer,
                           const ModelOptions& options, ops::Context& context,
                           const std::function<base::Status()>& add_layers);

  // What the layers of one forward share.
  struct Pass {
    const cache::Batch& batch;
    std::vector<int64_t> positions;  // of each row
    ops::RopeAngles angles{};
    float* time = nullptr;  // an encoding of the positions for all layers
    int64_t rows() const { return batch.rows(); }
  };
  virtual void StartLayers(ops::Context& context, Pass* pass) const = 0;
  // x [T, hidden_stride]: the residual stream, through one layer, in place.
  virtual void RunLayer(ops::Context& context, const Pass& pass, int64_t layer, float* x,
                        uint8_t* row_ok) const = 0;
  virtual int64_t head_dim() const = 0;  // 2 for a model without attention

  Shard shard_;  // what this rank holds of the model
  const kernels::Table& table_;
  WeightStore store_;
  kernels::AttentionKind attention_kind_ = kernels::kAttentionF32;
  cache::CacheLayout layout_;

 private:
  void RunLayers(ops::Context& context, const std::shared_ptr<Pass>& pass, float* x, uint8_t* row_ok) const;

  CacheType cache_type_;
  nn::VocabularyRuns vocabulary_;
  size_t embedding_ = 0, head_ = 0;  // the same matrix when tied
  ops::Norm final_norm_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_LANGUAGE_MODEL_H_
