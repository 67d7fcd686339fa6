// Hugging Face's Mamba. Probe points: embed; per layer norm_in, the mixer's (models/fusiontree/model.h,
// without its norms), layer_out (the residual stream after it); final_norm, logits.
#ifndef FUSIONTREE_MODELS_MAMBA_MODEL_H_
#define FUSIONTREE_MODELS_MAMBA_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "models/mamba/config.h"
#include "models/mixer.h"
#include "nn/mamba.h"

namespace fusiontree::models {

class MambaSpec : public Spec {
 public:
  explicit MambaSpec(MambaConfig config) : config_(std::move(config)) {}

  const MambaConfig& config() const override { return config_; }
  HeadCounts heads() const override { return {}; }
  std::vector<TensorRule> Rules(checkpoint::Checkpoint::Format format) const override;
  cache::CacheLayout Layout(const kernels::Table& table, kernels::AttentionKind kind,
                            Shard shard) const override;
  std::vector<Fact> Describe() const override;
  base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                            const ModelOptions& options,
                                            ops::Context& context) const override;

  MixerShape mixer() const;
  struct Tensors {
    TensorRule embedding, final_norm;
    OptionalRule head;
    std::vector<TensorRule> norms;
    std::vector<MixerRules> mixers;
  };
  Tensors MakeRules() const;

 private:
  MambaConfig config_;
};

class MambaModel : public LanguageModel {
 public:
  static base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                                   const MambaSpec& spec, const ModelOptions& options,
                                                   ops::Context& context);

  const MambaConfig& config() const override { return spec_.config(); }
  std::string_view layer_output() const override { return "layer_out"; }
  double FlopsPerToken(int64_t context) const override;

 private:
  struct Layer {
    ops::Norm norm;
    nn::MambaWeights mixer;
  };

  MambaModel(const checkpoint::Checkpoint& checkpoint, const MambaSpec& spec, const ModelOptions& options,
             const kernels::Table& table, Shard shard)
      : LanguageModel(checkpoint, spec, options, table, shard), spec_(spec) {}
  base::Status Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                     ops::Context& context);
  void StartLayers(ops::Context&, Pass*) const override {}
  void RunLayer(ops::Context& context, const Pass& pass, int64_t layer, float* x,
                uint8_t* row_ok) const override;
  int64_t head_dim() const override { return 2; }

  MambaSpec spec_;
  std::vector<Layer> layers_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_MAMBA_MODEL_H_
