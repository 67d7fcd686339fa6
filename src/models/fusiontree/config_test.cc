#include "models/fusiontree/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/mamba/config.h"

namespace fusiontree::models {
namespace {

using Json = nlohmann::json;

Json Small() {
  return {{"model_type", "fusiontree"}, {"vocab_size", 4096},       {"hidden_size", 256},
          {"num_hidden_layers", 4},     {"num_attention_heads", 8}, {"num_key_value_heads", 4},
          {"window_size", 64},          {"global_heads", 2},        {"gate_rank", 16}};
}

FusionTreeConfig Read(const Json& json) {
  auto config = ReadFusionTreeConfig(json.dump());
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? config.value() : FusionTreeConfig{};
}
std::string ErrorWith(const std::string& key, Json value, Json json = Small()) {
  json[key] = std::move(value);
  auto config = ReadFusionTreeConfig(json.dump());
  return config.ok() ? "no error" : config.status().message();
}

TEST(FusionTreeConfig, DefaultsAreThoseOfTheDocument) {
  const FusionTreeConfig c = Read(Small());
  EXPECT_EQ(c.head_dim, 32);
  EXPECT_EQ(c.windows, std::vector<int64_t>(4, 64));
  EXPECT_EQ(c.layer_types, std::vector<LayerType>(4, LayerType::kHybrid));
  EXPECT_EQ(c.inner, 512);
  EXPECT_EQ(c.time_step_rank, 16);
  EXPECT_EQ(c.state_size, 16);
  EXPECT_EQ(c.conv_kernel, 4);
  EXPECT_EQ(c.attn_conv_kernel, 4);
  EXPECT_TRUE(c.branch_norm && c.layer_norm && c.aligned && c.srte_shared && c.tie_word_embeddings);
  EXPECT_FALSE(c.serial || c.post_norm || c.ssm_norm);
  EXPECT_EQ(c.srte, TimeEncoding::kSincos);
  EXPECT_EQ(c.gate, GateKind::kChannel);
  EXPECT_EQ(c.norm_eps, 1e-5);
  EXPECT_EQ(c.reduction_slices, 8);
  EXPECT_EQ(c.max_positions, 1 << 24);  // sines and cosines have no end
}

TEST(FusionTreeConfig, PyramidalWindowsGrowOrShrinkWithTheLayer) {
  Json json = Small();
  json["attention_type"] = "pyramidal";
  json["base_window"] = 10;
  json["window_size"] = 21;
  EXPECT_EQ(Read(json).windows, (std::vector<int64_t>{10, 14, 17, 21}));  // 10, 13.67, 17.33, 21
  json["base_window"] = 21;
  json["window_size"] = 10;
  EXPECT_EQ(Read(json).windows, (std::vector<int64_t>{21, 17, 14, 10}));
  json["num_hidden_layers"] = 1;
  EXPECT_EQ(Read(json).windows, std::vector<int64_t>{10});
}

TEST(FusionTreeConfig, SlicesAreThoseOfTheUnprunedLayer) {
  Json json = Small();
  json["num_attention_heads"] = 6;
  json["num_key_value_heads"] = 3;
  json["hidden_size"] = 192;
  EXPECT_EQ(Read(json).reduction_slices, 6);
  json["layer_types"] = {"local", "mamba", "attention", "hybrid"};
  EXPECT_EQ(Read(json).reduction_slices, 6);
  json["reduction_slices"] = 2;
  EXPECT_NE(ErrorWith("reduction_slices", 4, json).find("reduction_slices"), std::string::npos);
}

TEST(FusionTreeConfig, ALearntTableEndsTheContext) {
  Json json = Small();
  json["max_position_embeddings"] = 100;
  EXPECT_EQ(Read(json).max_positions, 1 << 24);
  json["srte_encoding"] = "learnable";
  EXPECT_EQ(Read(json).max_positions, 100);
  json["layer_types"] = std::vector<std::string>(4, "attention");  // nobody reads the table
  EXPECT_EQ(Read(json).max_positions, 1 << 24);
}

TEST(FusionTreeConfig, EachImpossibleValueIsNamed) {
  const std::vector<std::tuple<std::string, Json, std::string>> cases = {
      {"global_heads", 9, "\"global_heads\" 9 is more than the 8 heads"},
      {"global_heads", 3, "\"global_heads\" 3 is not a multiple of 2"},
      {"global_heads", -2, "global_heads"},
      {"window_size", 0, "window_size"},
      {"window_size", 12.5, "window_size"},
      {"base_window", 0, "base_window"},
      {"base_window", 7, "base_window"},
      {"gate_rank", 0, "gate_rank"},
      {"ssm_state_size", 0, "ssm_state_size"},
      {"ssm_state_size", 1000000, "ssm_state_size"},
      {"time_step_rank", 0, "time_step_rank"},
      {"time_step_rank", 513, "time_step_rank"},
      {"time_step_rank", "auto", "time_step_rank"},
      {"hidden_size", 0, "hidden_size"},
      {"hidden_size", 255, "hidden_size"},
      {"hidden_size", "256", "hidden_size"},
      {"num_hidden_layers", 0, "num_hidden_layers"},
      {"num_hidden_layers", 5000, "num_hidden_layers"},
      {"num_key_value_heads", 3, "num_key_value_heads"},
      {"head_dim", 31, "not even"},
      {"head_dim", 512, "head_dim"},
      {"conv_kernel", -1, "conv_kernel"},
      {"attn_conv_kernel", 1000, "attn_conv_kernel"},
      {"expand", 0, "expand"},
      {"norm_eps", 0, "norm_eps"},
      {"rope_theta", -1, "rope_theta"},
      {"initializer_range", 0, "initializer_range"},
      {"dropout", 1.0, "dropout"},
      {"drop_branch_prob", -0.5, "drop_branch_prob"},
      {"srte_rank", 0, "srte_rank"},
      {"max_position_embeddings", 0, "max_position_embeddings"},
      {"attention_type", "sliding", "attention_type"},
      {"gate_granularity", "head", "gate_granularity"},
      {"branch_layout", "cross", "branch_layout"},
      {"norm_type", "batchnorm", "norm_type"},
      {"residual_norm", "pre", "residual_norm"},
      {"srte_encoding", "rotary", "srte_encoding"},
      {"use_alignment", 1, "use_alignment"},
      {"layer_types", Json::array({"hybrid"}), "\"layer_types\" has 1 entries for 4 layers"},
      {"layer_types", Json::array({"hybrid", "mamba", "ssm", "local"}), "\"ssm\""},
      {"eos_token_id", 4096, "eos_token_id"},
      {"bos_token_id", -2, "bos_token_id"},
      {"pad_token_id", 5000, "pad_token_id"},
      {"tie_embeddings", true, "tie_embeddings"},
      {"unheard_of", nullptr, "unheard_of"},
      {"window", 0, "window"},
      {"model_type", "qwen2", "model_type"}};
  for (const auto& [key, value, named] : cases) {
    const std::string error = ErrorWith(key, value);
    EXPECT_NE(error.find(named), std::string::npos) << key << " = " << value << ": " << error;
  }
  for (const char* required : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                               "num_key_value_heads", "window_size", "global_heads", "gate_rank"}) {
    Json json = Small();
    json.erase(required);
    auto config = ReadFusionTreeConfig(json.dump());
    ASSERT_FALSE(config.ok());
    EXPECT_NE(config.status().message().find(required), std::string::npos) << config.status().message();
  }
}

TEST(FusionTreeConfig, CombinationsThatCannotBeAreNamed) {
  Json odd = Small();
  odd["hidden_size"] = 255;
  odd["head_dim"] = 32;
  EXPECT_NE(ErrorWith("srte_encoding", "sincos", odd).find("is odd"), std::string::npos);
  EXPECT_EQ(ErrorWith("srte_encoding", "none", odd), "no error");
  Json global = Small();
  global["global_heads"] = 8;
  EXPECT_EQ(ErrorWith("layer_types", std::vector<std::string>(4, "mamba"), global), "no error");
  EXPECT_NE(ErrorWith("layer_types", std::vector<std::string>(4, "local"), global).find("that is \"mamba\""),
            std::string::npos);
}

TEST(FusionTreeConfig, WhatOthersWriteIntoItIsIgnored) {
  Json json = Small();
  json["architectures"] = {"FusionTreeForCausalLM"};
  json["auto_map"] = {{"AutoConfig", "x.y"}};
  json["torch_dtype"] = "float32";
  json["dtype"] = "bfloat16";
  json["transformers_version"] = "5";
  json["use_cache"] = true;
  EXPECT_EQ(Read(json).hidden_size, 256);
}

std::string MambaErrorWith(const std::string& key, Json value) {
  Json json = {{"model_type", "mamba"}, {"vocab_size", 50}, {"hidden_size", 24}, {"num_hidden_layers", 2}};
  json[key] = std::move(value);
  auto config = ReadMambaConfig(json.dump());
  return config.ok() ? "no error" : config.status().message();
}

TEST(MambaConfig, EachImpossibleValueIsNamed) {
  EXPECT_EQ(MambaErrorWith("time_step_rank", "auto"), "no error");
  EXPECT_EQ(MambaErrorWith("time_step_rank", 3), "no error");
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"time_step_rank", 0},
                                                                            {"time_step_rank", "two"},
                                                                            {"state_size", 0},
                                                                            {"state_size", 100000},
                                                                            {"conv_kernel", 0},
                                                                            {"expand", 0},
                                                                            {"hidden_size", -1},
                                                                            {"hidden_act", "relu"},
                                                                            {"layer_norm_epsilon", 0},
                                                                            {"eos_token_id", 50},
                                                                            {"reduction_slices", 7},
                                                                            {"mystery", 3}})
    EXPECT_NE(MambaErrorWith(key, value).find(key), std::string::npos) << MambaErrorWith(key, value);
}

}  // namespace
}  // namespace fusiontree::models
