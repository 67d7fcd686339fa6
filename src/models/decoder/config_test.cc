#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/decoder/read_config.h"

namespace fusiontree::models {
namespace {

using Json = nlohmann::json;

const std::vector<const Family*> kFamilies = {&Qwen2Family(), &Qwen3Family(), &LlamaFamily(),
                                              &MistralFamily()};

Json Qwen2() {
  return Json::parse(R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896,
    "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
    "vocab_size": 151936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "tie_word_embeddings": true, "hidden_act": "silu", "use_sliding_window": false, "sliding_window": 32768,
    "max_window_layers": 21, "eos_token_id": 151643, "torch_dtype": "bfloat16", "use_cache": true})");
}
Json Llama() {
  return Json::parse(
      R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 4,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "eos_token_id": [128001, 128008], "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, "rope_theta": 500000.0})");
}

DecoderConfig Read(const Json& json) {
  auto config = ReadJsonConfig(json.dump(), kFamilies);
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? config.value() : DecoderConfig{};
}
std::string Error(const Json& json) {
  auto config = ReadJsonConfig(json.dump(), kFamilies);
  return config.ok() ? "no error" : config.status().message();
}
std::string ErrorWith(Json json, const std::string& key, Json value) {
  json[key] = std::move(value);
  return Error(json);
}

TEST(ReadJsonConfig, Qwen2) {
  const DecoderConfig c = Read(Qwen2());
  EXPECT_EQ(c.family, "qwen2");
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_TRUE(c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm && c.tie_word_embeddings);
  EXPECT_EQ(c.windows, std::vector<int64_t>(24, 0));
  EXPECT_EQ(c.reduction_slices, 2);
  EXPECT_EQ(c.eos_ids, std::vector<int64_t>{151643});
}

TEST(ReadJsonConfig, SlidingLayersAsTheConfigSays) {
  Json json = Qwen2();
  json["use_sliding_window"] = true;
  DecoderConfig c = Read(json);
  EXPECT_EQ(c.windows[20], 0);
  EXPECT_EQ(c.windows[21], 32768);
  json["layer_types"] = std::vector<std::string>(24, "full_attention");
  json["layer_types"][3] = "sliding_attention";
  c = Read(json);
  EXPECT_EQ(c.windows[3], 32768);
  EXPECT_EQ(c.windows[21], 0);
  json["use_sliding_window"] = false;
  EXPECT_NE(Error(json).find("switched off"), std::string::npos);
}

TEST(ReadJsonConfig, MistralSlidesUnlessTheWindowIsNull) {
  Json json = Llama();
  json["model_type"] = "mistral";
  json.erase("rope_scaling");
  EXPECT_EQ(Read(json).windows[0], 4096);
  json["sliding_window"] = nullptr;
  EXPECT_EQ(Read(json).windows[0], 0);
}

TEST(ReadJsonConfig, BothSpellingsOfRope) {
  const DecoderConfig old_style = Read(Llama());
  EXPECT_EQ(old_style.rope.scaling, RopeConfig::Scaling::kLlama3);
  Json json = Llama();
  json["rope_parameters"] = json["rope_scaling"];
  json["rope_parameters"]["rope_theta"] = 500000.0;
  json.erase("rope_scaling");
  json.erase("rope_theta");
  const DecoderConfig new_style = Read(json);
  EXPECT_EQ(InverseFrequencies(old_style), InverseFrequencies(new_style));
  EXPECT_EQ(new_style.rope.theta, 500000.0);
}

TEST(ReadJsonConfig, SlicesFollowTheRule) {
  Json json = Llama();
  EXPECT_EQ(Read(json).reduction_slices, 8);
  json["num_attention_heads"] = 9;
  json["num_key_value_heads"] = 3;
  json["hidden_size"] = 576;
  json["intermediate_size"] = 1536;
  EXPECT_EQ(Read(json).reduction_slices, 3);
  json["reduction_slices"] = 1;
  EXPECT_EQ(Read(json).reduction_slices, 1);
  json["reduction_slices"] = 2;
  EXPECT_NE(Error(json).find("reduction_slices 2"), std::string::npos);
}

TEST(ReadJsonConfig, WhatChangesTheFunctionAndIsNotKnownIsRefusedByName) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, Json>>{{"hidden_act", "gelu"},
                                                 {"attn_logit_softcapping", 50.0},
                                                 {"quantization_config", {{"bits", 4}}},
                                                 {"mystery", 3},
                                                 {"partial_rotary_factor", 0.5},
                                                 {"num_experts", 8},
                                                 {"position_embedding_type", "alibi"},
                                                 {"attention_bias", false},
                                                 {"mlp_bias", true},
                                                 {"residual_multiplier", 0.2},
                                                 {"text_config", {{"a", 1}}}})
    EXPECT_NE(ErrorWith(Qwen2(), key, value).find(key), std::string::npos)
        << key << ": " << ErrorWith(Qwen2(), key, value);
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"mystery", nullptr},
                                                                            {"mystery", false},
                                                                            {"_private", 3},
                                                                            {"partial_rotary_factor", 1.0},
                                                                            {"temperature", 0.7},
                                                                            {"residual_multiplier", 1.0},
                                                                            {"transformers_version", "9"}})
    EXPECT_EQ(ErrorWith(Qwen2(), key, value), "no error") << key;
}

TEST(ReadJsonConfig, ValuesOutOfRangeAreNamed) {
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_key_value_heads", "max_position_embeddings"})
    for (const Json& value :
         {Json(0), Json(-1), Json(1e30), Json("x"), Json(1.5), Json::array(), Json(int64_t{1} << 40)}) {
      const std::string error = ErrorWith(Qwen2(), key, value);
      EXPECT_NE(error.find(key), std::string::npos) << key << " " << value << ": " << error;
    }
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"}) {
    Json json = Qwen2();
    json.erase(key);
    EXPECT_NE(Error(json).find(key), std::string::npos);
  }
  EXPECT_NE(ErrorWith(Qwen2(), "num_key_value_heads", 5).find("5 key/value heads"), std::string::npos);
  EXPECT_NE(ErrorWith(Qwen2(), "rms_norm_eps", 0).find("epsilon"), std::string::npos);
  EXPECT_NE(ErrorWith(Qwen2(), "rope_theta", -3.0).find("rope_theta"), std::string::npos);
  EXPECT_NE(ErrorWith(Qwen2(), "eos_token_id", 200000).find("200000"), std::string::npos);
  EXPECT_NE(ErrorWith(Qwen2(), "head_dim", 63).find("63"), std::string::npos);
}

TEST(ReadJsonConfig, RopeScalingsAreChecked) {
  EXPECT_NE(ErrorWith(Qwen2(), "rope_scaling", {{"type", "yarn"}, {"factor", 4}}).find("yarn"),
            std::string::npos);
  EXPECT_NE(ErrorWith(Qwen2(), "rope_scaling", {{"type", "linear"}}).find("factor"), std::string::npos);
  EXPECT_NE(ErrorWith(Qwen2(), "rope_scaling", {{"type", "linear"}, {"rope_type", "llama3"}}).find("differ"),
            std::string::npos);
  Json bad = Llama()["rope_scaling"];
  bad["low_freq_factor"] = 8.0;
  EXPECT_NE(ErrorWith(Llama(), "rope_scaling", bad).find("low_freq_factor"), std::string::npos);
  bad = Llama()["rope_scaling"];
  bad["mscale"] = 2.0;
  EXPECT_NE(ErrorWith(Llama(), "rope_scaling", bad).find("mscale"), std::string::npos);
}

TEST(ReadJsonConfig, OtherModelsAreRefusedWithTheListOfThoseThatAreKnown) {
  EXPECT_NE(ErrorWith(Qwen2(), "model_type", "gpt_neox").find("qwen2, qwen3, llama, mistral"),
            std::string::npos);
  EXPECT_NE(
      ErrorWith(Qwen2(), "architectures", {"Qwen2ForSequenceClassification"}).find("SequenceClassification"),
      std::string::npos);
}

TEST(ReadJsonConfig, TextThatIsNoConfig) {
  auto error = [](const std::string& text) { return ReadJsonConfig(text, kFamilies).status().message(); };
  EXPECT_NE(error("").find("JSON"), std::string::npos);
  EXPECT_NE(error("[1]").find("object"), std::string::npos);
  EXPECT_NE(error("{\"a\": 1").find("byte"), std::string::npos);
  EXPECT_NE(error("{\"a\": 1, \"a\": 2}").find("\"a\" twice"), std::string::npos);
  EXPECT_NE(error(std::string(100000, '[')).find("nested"), std::string::npos);
  EXPECT_NE(error(std::string("{}\0{}", 5)).find("NUL"), std::string::npos);
}

TEST(InverseFrequencies, FollowTheFormulas) {
  DecoderConfig c = Read(Qwen2());
  const std::vector<float> plain = InverseFrequencies(c);
  for (size_t i = 0; i < plain.size(); ++i)
    EXPECT_NEAR(plain[i] / std::pow(1e6, -2.0 * static_cast<double>(i) / 64.0), 1.0, 3e-7);
  c.rope.scaling = RopeConfig::Scaling::kLinear;
  c.rope.factor = 4.0;
  EXPECT_EQ(InverseFrequencies(c)[5], plain[5] / 4.0f);
}

}  // namespace
}  // namespace fusiontree::models
