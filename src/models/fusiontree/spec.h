// FusionTree as a spec.
#ifndef FUSIONTREE_MODELS_FUSIONTREE_SPEC_H_
#define FUSIONTREE_MODELS_FUSIONTREE_SPEC_H_

#include <memory>
#include <vector>

#include "models/fusiontree/config.h"
#include "models/mixer.h"
#include "models/spec.h"

namespace fusiontree::models {

class FusionTreeSpec : public Spec {
 public:
  explicit FusionTreeSpec(FusionTreeConfig config) : config_(std::move(config)) {}

  const FusionTreeConfig& config() const override { return config_; }
  HeadCounts heads() const override { return {config_.num_heads, config_.num_kv_heads}; }
  std::vector<TensorRule> Rules(checkpoint::Checkpoint::Format format) const override;
  cache::CacheLayout Layout(const kernels::Table& table, kernels::AttentionKind kind,
                            Shard shard) const override;
  std::vector<Fact> Describe() const override;
  base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                            const ModelOptions& options,
                                            ops::Context& context) const override;

  MixerShape mixer() const;

  // Heads of one kind (local or global) in one layer on one rank, or none.
  struct Heads {
    base::Range query{0, 0}, kv{0, 0};
    int64_t window = 0;
    bool any() const { return query.end > query.begin; }
  };
  // {local, global}.
  std::vector<Heads> HeadsOf(int64_t layer, Shard shard) const;

 private:
  FusionTreeConfig config_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_FUSIONTREE_SPEC_H_
