// The shared decoder of the Qwen2, Qwen3, Llama and Mistral families: embedding, n times (norm, attention,
// norm, MLP), final norm, head. Probe points, in order: embed; per layer input_norm, q_proj, k_proj, v_proj,
// (q_norm, k_norm), q_rope, k_rope, attention, o_proj (the residual stream after it), post_norm, mlp_act,
// down_proj (likewise); final_norm, logits.
#ifndef FUSIONTREE_MODELS_DECODER_MODEL_H_
#define FUSIONTREE_MODELS_DECODER_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "models/decoder/spec.h"
#include "models/model.h"
#include "models/weight_store.h"
#include "nn/attention.h"
#include "nn/mlp.h"

namespace fusiontree::models {

// On a rank of several (ops::Context::ranks) it holds and computes that rank's shard; all ranks call Forward
// and Head with the same arguments at the same time. Head's logits are rank 0's.
class DecoderModel : public Model {
 public:
  static base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                                   const DecoderSpec& spec, const ModelOptions& options,
                                                   ops::Context& context);

  const DecoderConfig& config() const override { return config_; }
  const cache::CacheLayout& cache_layout() const override { return layout_; }
  std::string TypeName() const override;
  std::string CacheTypeName() const override;
  size_t weight_bytes() const override { return store_.bytes(); }
  size_t streamed_bytes() const override;
  double FlopsPerToken(int64_t context) const override;
  double HeadFlops() const override;
  std::unique_ptr<cache::SequenceState> NewSequence(cache::BlockPool* pool) const override;
  int64_t hidden_stride() const override { return ops::PaddedColumns(config_.hidden_size); }
  int64_t logits_stride() const override { return ops::PaddedColumns(config_.vocab_size); }
  void Forward(ops::Context& context, const cache::Batch& batch, float* hidden,
               uint8_t* row_ok) const override;
  void Head(ops::Context& context, const float* hidden, const int64_t* rows, int64_t count,
            float* logits) const override;

 private:
  struct Layer {
    const float* input_norm;  // [H]
    nn::AttentionWeights attention;
    const float* post_norm;  // [H]
    nn::MlpWeights mlp;
  };
  struct Plan;  // indices into the store

  DecoderModel(const checkpoint::Checkpoint& checkpoint, const DecoderSpec& spec, const ModelOptions& options,
               const kernels::Table& table, Shard shard);
  base::Status Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                     ops::Context& context);
  base::Result<Plan> AddLayer(const struct LayerRules& rules);
  Layer MakeLayer(const Plan& plan, int64_t index);

  HeadCounts heads() const { return spec_.heads(); }

  DecoderSpec spec_;  // of the whole model
  const DecoderConfig& config_;
  Shard shard_;  // what this rank holds of it
  nn::VocabularyRuns vocabulary_;
  const kernels::Table& table_;
  WeightStore store_;
  CacheType cache_type_;
  kernels::AttentionKind attention_kind_ = kernels::kAttentionF32;
  size_t embedding_ = 0, head_ = 0;  // the same matrix when tied
  const float* final_norm_ = nullptr;
  std::vector<Layer> layers_;
  std::vector<float> inverse_frequencies_;
  cache::CacheLayout layout_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_MODEL_H_
