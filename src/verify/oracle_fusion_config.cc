#include "verify/oracle_fusion_config.h"

#include <algorithm>
#include <cmath>

#include "models/fusiontree/config.h"
#include "verify/oracle_json.h"

namespace fusiontree::verify {

using base::BadInput;
using base::Result;

bool OracleFusionConfig::AnyMamba() const {
  return std::any_of(layer_types.begin(), layer_types.end(),
                     [](const std::string& type) { return type != "attention"; });
}

Result<OracleFusionConfig> ReadOracleFusionConfig(const nlohmann::json& json) {
  OracleFusionConfig c;
  c.vocab_size = Integer(json, "vocab_size", 0);
  c.hidden_size = Integer(json, "hidden_size", 0);
  c.num_layers = Integer(json, "num_hidden_layers", 0);
  c.num_heads = Integer(json, "num_attention_heads", 0);
  c.num_kv_heads = Integer(json, "num_key_value_heads", 0);
  c.head_dim = Integer(json, "head_dim", c.num_heads > 0 ? c.hidden_size / c.num_heads : 0);
  c.global_heads = Integer(json, "global_heads", 0);
  c.rope_theta = Number(json, "rope_theta", 10000.0);
  c.attn_conv_kernel = Integer(json, "attn_conv_kernel", 4);
  c.branch_norm = Flag(json, "branch_norm", true);
  c.serial = Text(json, "branch_layout") == "serial";
  c.layer_norm = Text(json, "norm_type") != "rmsnorm";
  c.post = Text(json, "residual_norm") == "post";
  c.aligned = Flag(json, "use_alignment", true);
  c.tied = Flag(json, "tie_word_embeddings", true);
  c.gate = Text(json, "gate_granularity", "channel");
  c.gate_rank = Integer(json, "gate_rank", 0);
  c.norm_eps = Number(json, "norm_eps", 1e-5);
  c.srte = Text(json, "srte_encoding", "sincos");
  c.srte_rank = Integer(json, "srte_rank", 64);
  c.srte_shared = Flag(json, "srte_share_across_layers", true);
  c.table_positions = Integer(json, "max_position_embeddings", 32768);
  c.state_size = Integer(json, "ssm_state_size", 16);
  c.conv_kernel = Integer(json, "conv_kernel", 4);
  c.inner = Integer(json, "expand", 2) * c.hidden_size;
  c.time_step_rank = Integer(json, "time_step_rank", (c.hidden_size + 15) / 16);
  c.ssm_norm = Flag(json, "ssm_norm");
  for (const int64_t size :
       {c.vocab_size, c.hidden_size, c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim, c.gate_rank,
        c.srte_rank, c.table_positions, c.state_size, c.inner, c.time_step_rank})
    if (size < 1 || size > int64_t{1} << 31)
      return BadInput("the config's sizes must be 1 or more, got {}", size);
  if (c.num_layers > 100000 || c.head_dim > 65536 || c.num_heads % c.num_kv_heads != 0 ||
      c.head_dim % 2 != 0 || c.global_heads < 0 || c.global_heads > c.num_heads || c.attn_conv_kernel < 0 ||
      c.conv_kernel < 0)
    return BadInput("config.json: impossible numbers of layers, heads or taps");

  const nlohmann::json* types = Key(json, "layer_types");
  const int64_t window = Integer(json, "window_size", 0), base = Integer(json, "base_window", window);
  const bool pyramidal = Text(json, "attention_type") == "pyramidal";
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const bool named = types && types->is_array() && types->size() > static_cast<size_t>(i) &&
                       (*types)[static_cast<size_t>(i)].is_string();
    c.layer_types.push_back(named ? (*types)[static_cast<size_t>(i)].get<std::string>() : "hybrid");
    double own = static_cast<double>(window);
    if (pyramidal && c.num_layers > 1)
      own =
          std::floor(static_cast<double>(base) +
                     static_cast<double>((window - base) * i) / static_cast<double>(c.num_layers - 1) + 0.5);
    c.windows.push_back(static_cast<int64_t>(own));
    if (c.windows.back() < 1) return BadInput("config.json: a window of {}", c.windows.back());
  }
  return c;
}

std::vector<std::string> FusionDifferences(const OracleFusionConfig& oracle, const models::Config& config) {
  const auto* engine = dynamic_cast<const models::FusionTreeConfig*>(&config);
  if (!engine) return {fmt::format("family: the oracle reads fusiontree, the engine {}", config.family)};
  static const char* const kGates[] = {"channel", "token", "none"};
  static const char* const kEncodings[] = {"sincos", "learnable", "factorized", "none"};
  static const char* const kTypes[] = {"hybrid", "mamba", "attention", "local"};
  std::vector<std::string> out;
  const auto compare = [&](const std::string& name, const auto& expected, const auto& got) {
    if (expected != got)
      out.push_back(fmt::format("{}: the oracle reads {}, the engine {}", name, expected, got));
  };
  compare("vocab_size", oracle.vocab_size, engine->vocab_size);
  compare("hidden_size", oracle.hidden_size, engine->hidden_size);
  compare("num_layers", oracle.num_layers, engine->num_layers);
  compare("num_heads", oracle.num_heads, engine->num_heads);
  compare("num_kv_heads", oracle.num_kv_heads, engine->num_kv_heads);
  compare("head_dim", oracle.head_dim, engine->head_dim);
  compare("global_heads", oracle.global_heads, engine->global_heads);
  compare("rope_theta", oracle.rope_theta, engine->rope_theta);
  compare("attn_conv_kernel", oracle.attn_conv_kernel, engine->attn_conv_kernel);
  compare("branch_norm", oracle.branch_norm, engine->branch_norm);
  compare("serial", oracle.serial, engine->serial);
  compare("layernorm", oracle.layer_norm, engine->layer_norm);
  compare("post residual norm", oracle.post, engine->post_norm);
  compare("use_alignment", oracle.aligned, engine->aligned);
  compare("tie_word_embeddings", oracle.tied, engine->tie_word_embeddings);
  compare("gate_granularity", oracle.gate, std::string(kGates[static_cast<int>(engine->gate)]));
  compare("gate_rank", oracle.gate_rank, engine->gate_rank);
  compare("norm_eps", static_cast<float>(oracle.norm_eps), static_cast<float>(engine->norm_eps));
  compare("srte_encoding", oracle.srte, std::string(kEncodings[static_cast<int>(engine->srte)]));
  compare("srte_rank", oracle.srte_rank, engine->srte_rank);
  compare("srte_share_across_layers", oracle.srte_shared, engine->srte_shared);
  compare("max_position_embeddings", oracle.table_positions, engine->table_positions);
  compare("ssm_state_size", oracle.state_size, engine->state_size);
  compare("conv_kernel", oracle.conv_kernel, engine->conv_kernel);
  compare("mamba channels", oracle.inner, engine->inner);
  compare("time_step_rank", oracle.time_step_rank, engine->time_step_rank);
  compare("ssm_norm", oracle.ssm_norm, engine->ssm_norm);
  for (size_t i = 0; i < oracle.windows.size() && i < engine->windows.size(); ++i) {
    compare(fmt::format("window of layer {}", i), oracle.windows[i], engine->windows[i]);
    compare(fmt::format("type of layer {}", i), oracle.layer_types[i],
            std::string(kTypes[static_cast<int>(engine->layer_types[i])]));
  }
  return out;
}

}  // namespace fusiontree::verify
