// FusionTree: each layer runs a Mamba mixer and local-global attention on the same normed input and joins
// them by a low-rank gate (docs/fusiontree.md). Probe points, in order, those of branches and switches that
// the layer has:
//   embed; (srte: shared table); per layer (srte), norm_in;
//   mixer: in_proj_x, in_proj_z, conv, x_proj_dt, x_proj_b, x_proj_c, (dt_norm, b_norm, c_norm), dt_proj,
//   delta, scan,
//     mamba_out, (norm_m);
//   attention: (norm_mid), (attn_conv), q_proj, k_proj, v_proj, q_rope, k_rope, attention, attn_out,
//   (norm_a); (align_act, align_wr), align, (gate_act, gate), (fused), fuse_out and mlp_out (the residual
//   stream after them) with mlp_act between; layer_out (after norm_out, or the same as mlp_out); final_norm,
//   logits.
#ifndef FUSIONTREE_MODELS_FUSIONTREE_MODEL_H_
#define FUSIONTREE_MODELS_FUSIONTREE_MODEL_H_

#include <memory>
#include <optional>
#include <vector>

#include "models/fusiontree/spec.h"
#include "models/language_model.h"
#include "nn/attention.h"
#include "nn/fusion.h"
#include "nn/mamba.h"

namespace fusiontree::models {

struct FusionLayerRules;
struct NormRules;

class FusionTreeModel : public LanguageModel {
 public:
  static base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                                   const FusionTreeSpec& spec, const ModelOptions& options,
                                                   ops::Context& context);

  const FusionTreeConfig& config() const override { return spec_.config(); }
  std::string_view layer_output() const override { return "layer_out"; }
  double FlopsPerToken(int64_t context) const override;

 private:
  // A time encoding: a table of rows, and of a factorised one the basis that they are multiplied by.
  struct TimeTable {
    const float* rows = nullptr;  // [positions, columns]
    float* drows = nullptr;       // of a model that is trained
    int64_t columns = 0;
    ops::Matrix basis;
  };
  struct Layer {
    bool mamba = false, attention = false;
    ops::Norm norm_in, norm_mid, norm_m, norm_a, norm_out;
    TimeTable time;  // of its own
    nn::MambaWeights mixer;
    ops::Convolution attn_conv;
    size_t attn_conv_state = 0;
    nn::AttentionWeights attn;
    nn::FusionWeights fusion;
  };
  struct Plan;  // indices into the store

  FusionTreeModel(const checkpoint::Checkpoint& checkpoint, const FusionTreeSpec& spec,
                  const ModelOptions& options, const kernels::Table& table, Shard shard)
      : LanguageModel(checkpoint, spec, options, table, shard), spec_(spec) {}
  base::Status Build(const checkpoint::Checkpoint& checkpoint, const ModelOptions& options,
                     ops::Context& context);
  // Leaves out what the plan does.
  base::Status FollowPlan(const std::vector<std::string>& plan);
  base::Status AddLayer(const FusionLayerRules& rules, Plan* plan);
  void MakeLayer(const Plan& plan, int64_t index, size_t* next_state);
  nn::AttentionWeights MakeAttention(const Plan& plan, int64_t index) const;
  nn::FusionWeights MakeFusion(const Plan& plan, int64_t index) const;

  // With the window that a training step has drawn.
  std::optional<nn::AttentionWeights> DrawnWindow(const ops::Context& context,
                                                  const nn::AttentionWeights& weights, int64_t layer) const;
  void StartLayers(ops::Context& context, Pass* pass) const override;
  void RunLayer(ops::Context& context, const Pass& pass, int64_t layer, float* x,
                uint8_t* row_ok) const override;
  // The encoding of each row's time that the layer adds, [T, hidden_stride]; or null.
  const float* TimeOf(ops::Context& context, const Pass& pass, int64_t layer) const;
  float* TakeTime(ops::Context& context, int64_t rows) const;
  int64_t head_dim() const override { return config().head_dim; }
  // The encoding of each row [T, hidden_stride].
  void EncodeTime(ops::Context& context, const TimeTable& table, const std::vector<int64_t>& positions,
                  float* out) const;

  FusionTreeSpec spec_;  // of the whole model
  TimeTable time_;       // shared
  std::vector<Layer> layers_;
  std::vector<float> inverse_frequencies_;
  std::vector<double> time_frequencies_;  // of sines and cosines, [H / 2]
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_FUSIONTREE_MODEL_H_
