// What the configs of all families have in common.
#ifndef FUSIONTREE_MODELS_CONFIG_H_
#define FUSIONTREE_MODELS_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

namespace fusiontree::models {

struct Config {
  virtual ~Config() = default;

  std::string family;       // "qwen2", "llama", "fusiontree", ...
  int64_t vocab_size = 0;   // V
  int64_t hidden_size = 0;  // H
  int64_t num_layers = 0;
  int64_t max_positions = 0;    // longest context
  int64_t usual_positions = 0;  // a context that is not out of the ordinary: for estimates
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;  // deviation of fresh matrices
  int64_t reduction_slices = 1;     // S of rule R2
  std::vector<int64_t> eos_ids;     // any of them ends a text; may be empty
  int64_t bos_id = -1;              // -1: none
};

}  // namespace fusiontree::models

#endif  // FUSIONTREE_MODELS_CONFIG_H_
