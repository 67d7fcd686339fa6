// The shared decoder of the Qwen2, Qwen3, Llama and Mistral families: embedding, n times (norm, attention,
// norm, MLP), final norm, head. Probe points, in order: embed; per layer input_norm, q_proj, k_proj, v_proj,
// (q_norm, k_norm), q_rope, k_rope, attention, o_proj (the residual stream after it), post_norm, mlp_act,
// down_proj (likewise); final_norm, logits.
#ifndef FUSIONTREE_MODELS_DECODER_MODEL_H_
#define FUSIONTREE_MODELS_DECODER_MODEL_H_

#include <memory>
#include <vector>

#include "models/decoder/spec.h"
#include "models/language_model.h"
#include "nn/attention.h"
#include "nn/mlp.h"

namespace fusiontree::models {

class DecoderModel : public LanguageModel {
 public:
  static base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                                   const DecoderSpec& spec, const ModelOptions& options,
                                                   ops::Context& context);

  const DecoderConfig& config() const override { return spec_.config(); }
  std::string_view layer_output() const override { return "down_proj"; }
  double FlopsPerToken(int64_t context) const override;

 private:
  struct Layer {
    ops::Norm input_norm;
    nn::AttentionWeights attention;
    ops::Norm post_norm;
    nn::MlpWeights mlp;
  };
  struct Plan;  // indices into the store

  DecoderModel(const checkpoint::Checkpoint& checkpoint, const DecoderSpec& spec, const ModelOptions& options,
               const kernels::Table& table, Shard shard)
      : LanguageModel(checkpoint, spec, options, table, shard), spec_(spec) {}
  base::Status Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                     ops::Context& context);
  base::Result<Plan> AddLayer(const struct LayerRules& rules);
  Layer MakeLayer(const Plan& plan, int64_t index) const;
  void StartLayers(ops::Context& context, Pass* pass) const override;
  void RunLayer(ops::Context& context, const Pass& pass, int64_t layer, float* x,
                uint8_t* row_ok) const override;
  int64_t head_dim() const override { return config().head_dim; }

  DecoderSpec spec_;  // of the whole model
  std::vector<Layer> layers_;
  std::vector<float> inverse_frequencies_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_MODEL_H_
