// A model before its weights are read: what its config says and what follows from it. A family of models is
// one subclass; everything above `models` speaks of this and of Model only.
#ifndef FUSIONTREE_MODELS_SPEC_H_
#define FUSIONTREE_MODELS_SPEC_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cache/block_pool.h"
#include "checkpoint/checkpoint.h"
#include "kernels/table.h"
#include "models/config.h"
#include "models/model.h"
#include "models/sharding.h"
#include "models/weight_map.h"

namespace fusiontree::models {

// One line of a model's description: for people, and as JSON.
struct Fact {
  std::string label, text;  // "" "": not shown to people
  std::string key, json;    // "" "": not in the JSON
};

class Spec {
 public:
  virtual ~Spec() = default;
  virtual const Config& config() const = 0;
  // {1, 1} for a model without attention.
  virtual HeadCounts heads() const = 0;
  // Every tensor, or part of one, that the checkpoint must hold.
  virtual std::vector<TensorRule> Rules(checkpoint::Checkpoint::Format format) const = 0;
  // What one sequence holds on one rank.
  virtual cache::CacheLayout Layout(const kernels::Table& table, kernels::AttentionKind kind,
                                    Shard shard) const = 0;
  virtual std::vector<Fact> Describe() const = 0;
  virtual base::Result<std::unique_ptr<Model>> Load(const checkpoint::Checkpoint& checkpoint,
                                                    const ModelOptions& options,
                                                    ops::Context& context) const = 0;
};

// That of any family that this build knows, from config.json or GGUF metadata; an unknown architecture or key
// is an error that names it.
base::Result<std::unique_ptr<Spec>> ReadSpec(const checkpoint::Checkpoint& checkpoint);
// That of a config.json.
base::Result<std::unique_ptr<Spec>> ReadSpec(std::string_view config_json);

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_SPEC_H_
