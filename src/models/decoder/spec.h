// The Qwen2, Qwen3, Llama and Mistral families as specs.
#ifndef FUSIONTREE_MODELS_DECODER_SPEC_H_
#define FUSIONTREE_MODELS_DECODER_SPEC_H_

#include <memory>
#include <vector>

#include "models/decoder/config.h"
#include "models/spec.h"

namespace fusiontree::models {

class DecoderSpec : public Spec {
 public:
  explicit DecoderSpec(DecoderConfig config) : config_(std::move(config)) {}

  const DecoderConfig& config() const override { return config_; }
  HeadCounts heads() const override { return {config_.num_heads, config_.num_kv_heads}; }
  std::vector<TensorRule> Rules(checkpoint::Checkpoint::Format format) const override;
  cache::CacheLayout Layout(const kernels::Table& table, kernels::AttentionKind kind,
                            Shard shard) const override;
  std::vector<Fact> Describe() const override;
  base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                            const ModelOptions& options,
                                            ops::Context& context) const override;

 private:
  DecoderConfig config_;
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_DECODER_SPEC_H_
