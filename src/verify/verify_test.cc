// The engine passes against the oracle on every family, type and variant; and what is wrong is found and
// named.
#include "verify/verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/sample.h"
#include "kernels/ref.h"
#include "kernels/table.h"
#include "kernels/variants.h"
#include "models/decoder/config.h"
#include "verify/mutant.h"
#include "verify/setup.h"

namespace fusiontree::verify {
namespace {

// Every variant of this processor, and the plain-loop twins of those that few processors have.
std::vector<const kernels::Table*> Tables() {
  std::vector<const kernels::Table*> out;
  for (const kernels::Variant& variant : kernels::Variants())
    if (variant.table) out.push_back(variant.table);
  out.push_back(kernels::RefAvx512Bf16Table());
  out.push_back(kernels::RefAmxTable());
  return out;
}

std::vector<std::string> ParityCases() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(ParityFolder("")))
    if (entry.is_directory()) out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

class VerifyParity : public testing::TestWithParam<std::string> {};

// All types of products and cache on the plain loops; their twins of the bf16 variants have bf16 products
// only, and the other variants are compared with these in kernels_test.
std::vector<std::pair<const char*, const char*>> Types(const std::string& table) {
  if (table.starts_with("ref-")) return {{"bf16", "bf16"}, {"bf16", "f32"}};
  if (table != "ref") return {{"bf16", "bf16"}, {"f32", "f32"}};
  return {{"bf16", "bf16"}, {"bf16", "f32"}, {"f32", "bf16"}, {"f32", "f32"}, {"auto", "auto"}};
}

TEST_P(VerifyParity, EveryOperationIsWithinItsBound) {
  VerifyOptions options;
  options.sequences = RandomTexts(1, {50, 14}, 97);
  for (const kernels::Table* table : Tables()) {
    for (const auto& [dtype, kv] : Types(table->name)) {
      auto setup = LoadSetup(ParityFolder(GetParam()), {dtype, kv, "auto", 1}, table, nullptr);
      ASSERT_TRUE(setup.ok()) << setup.status().message();
      auto report = VerifySetup(&*setup, options);
      ASSERT_TRUE(report.ok()) << report.status().message();
      EXPECT_TRUE(report->ok()) << Table(*report, true);
      EXPECT_EQ(report->positions, 64);
      const int64_t layers = setup->model().config().num_layers;
      const auto* decoder = dynamic_cast<const models::DecoderConfig*>(&setup->model().config());
      ASSERT_NE(decoder, nullptr);
      const int64_t per_layer = decoder->qk_norm ? 13 : 11;
      EXPECT_EQ(static_cast<int64_t>(report->operations.size()), 3 + layers * per_layer);
      if (setup->used.type == "f32" && report->engine.kv == "f32") {
        EXPECT_LT(report->logits_error, 1e-4);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, VerifyParity, testing::ValuesIn(base::Sample(ParityCases(), 3)),
                         [](const auto& test) { return test.param; });

TEST(VerifyModel, ChunksAndStepsPassToo) {
  for (const int64_t chunk : {1, 17, 64}) {
    VerifyOptions options;
    options.chunk = chunk;
    auto report = VerifyModel(ParityFolder("qwen2_sliding"), options);
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_TRUE(report->ok()) << Table(*report, true);
  }
}

// ---- Wrong weights and configs: the engine loads the mutant, the oracle the original ----

struct MutantCase {
  const char* name;
  const char* parity;
  ChangeConfig config;
  std::vector<ChangeTensor> tensors;
  int layer;
  const char* op;
};

ChangeConfig SetRope(const char* key, double value) {
  return [key, value](nlohmann::json* config) {
    nlohmann::json& rope =
        (*config)[config->contains("rope_parameters") ? "rope_parameters" : "rope_scaling"];
    ASSERT_TRUE(rope.contains(key));
    ASSERT_NE(rope[key], value);
    rope[key] = value;
  };
}

std::vector<MutantCase> MutantCases() {
  const std::string first = "model.layers.0.", second = "model.layers.1.";
  return {
      {"Embedding", "qwen2_untied", nullptr, {OneStep("model.embed_tokens.weight", 5)}, -1, "embed"},
      {"InputNorm", "qwen2_tied", nullptr, {OneStep(second + "input_layernorm.weight", 3)}, 1, "input_norm"},
      {"QBias", "qwen2_tied", nullptr, {OneStep(second + "self_attn.q_proj.bias", 7)}, 1, "q_proj"},
      {"KWeight", "llama2_mha", nullptr, {OneStep(first + "self_attn.k_proj.weight", 130)}, 0, "k_proj"},
      {"VHeads",
       "llama_gqa_sharded",
       nullptr,
       {SwapRows(first + "self_attn.v_proj.weight", 0, 16, 16)},
       0,
       "v_proj"},
      {"QHeads",
       "llama_head_dim",
       nullptr,
       {SwapRows(second + "self_attn.q_proj.weight", 24, 72, 24)},
       1,
       "q_proj"},
      {"QNorm", "qwen3", nullptr, {OneStep(second + "self_attn.q_norm.weight", 31)}, 1, "q_norm"},
      {"KNorm", "qwen3_bias", nullptr, {OneStep(first + "self_attn.k_norm.weight", 0)}, 0, "k_norm"},
      {"OWeight",
       "mistral_sliding",
       nullptr,
       {OneStep(second + "self_attn.o_proj.weight", 401)},
       1,
       "o_proj"},
      {"OBias", "llama_bias", nullptr, {OneStep(first + "self_attn.o_proj.bias", 71)}, 0, "o_proj"},
      {"PostNorm",
       "mistral_full",
       nullptr,
       {OneStep(first + "post_attention_layernorm.weight", 63)},
       0,
       "post_norm"},
      {"GateBias", "llama_bias", nullptr, {OneStep(first + "mlp.gate_proj.bias", 83)}, 0, "mlp_act"},
      {"UpWeight",
       "qwen2_sliding",
       nullptr,
       {OneStep("model.layers.3.mlp.up_proj.weight", 99)},
       3,
       "mlp_act"},
      {"GateAndUp",
       "qwen2_mixed",
       nullptr,
       {SwapRows(first + "mlp.gate_proj.weight", 1, 2, 1)},
       0,
       "mlp_act"},
      {"DownWeight",
       "qwen2_layer_types",
       nullptr,
       {OneStep("model.layers.2.mlp.down_proj.weight", 0)},
       2,
       "down_proj"},
      {"FinalNorm", "smollm2_like", nullptr, {OneStep("model.norm.weight", 40)}, -1, "final_norm"},
      {"Head", "qwen2_untied", nullptr, {OneStep("lm_head.weight", 72 * 129 + 71)}, -1, "logits"},
      {"Theta", "qwen2_tied", Set("rope_theta", 1010000.0), {}, 0, "q_rope"},
      {"LinearFactor", "llama_linear_rope", SetRope("factor", 2.51), {}, 0, "q_rope"},
      {"HighFrequency", "llama3_rope", SetRope("high_freq_factor", 4.1), {}, 0, "q_rope"},
      {"LowFrequency", "llama3_rope_new", SetRope("low_freq_factor", 1.1), {}, 0, "q_rope"},
      {"OriginalLength", "llama3_rope", SetRope("original_max_position_embeddings", 65), {}, 0, "q_rope"},
      {"WindowWider", "qwen2_sliding", Set("sliding_window", 21), {}, 2, "attention"},
      {"WindowNarrower", "mistral_sliding", Set("sliding_window", 31), {}, 0, "attention"},
      {"WindowEarlier",
       "qwen3_sliding",
       Set("layer_types", {"sliding_attention", "sliding_attention", "sliding_attention"}),
       {},
       0,
       "attention"},
      {"Epsilon", "qwen2_mixed", Set("rms_norm_eps", 0.0031), {}, 0, "input_norm"},
      {"HeadEpsilon", "qwen3_bias", Set("rms_norm_eps", 0.0101), {}, 0, "input_norm"},
  };
}

class VerifyMutant : public testing::TestWithParam<MutantCase> {};

TEST_P(VerifyMutant, IsNamed) {
  const MutantCase& mutant = GetParam();
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(
      WriteMutant(ParityFolder(mutant.parity), folder.path(), mutant.config, mutant.tensors));
  VerifyOptions options;
  options.engine.threads = 1;
  options.sequences = {{}};
  for (int32_t id = 0; id < 90; ++id) options.sequences[0].push_back(id);
  options.reference = ParityFolder(mutant.parity);
  for (const char* dtype : {"auto", "f32", "bf16"}) {
    options.engine.dtype = dtype;
    auto report = VerifyModel(folder.path().string(), options);
    ASSERT_TRUE(report.ok()) << report.status().message();
    const OperationReport* departure = report->FirstDeparture();
    ASSERT_NE(departure, nullptr) << dtype << "\n" << Table(*report, true);
    EXPECT_EQ(departure->op, mutant.op) << dtype << "\n" << Table(*report, true);
    EXPECT_EQ(departure->layer, mutant.layer) << dtype;
    EXPECT_FALSE(report->ok());
    EXPECT_NE(Table(*report, false).find("FIRST DEPARTURE"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(All, VerifyMutant, testing::ValuesIn(base::Sample(MutantCases(), 3)),
                         [](const auto& test) { return test.param.name; });

TEST(VerifyModel, ADifferentReadingOfTheConfigIsSaid) {
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(
      WriteMutant(ParityFolder("qwen2_sliding"), folder.path(), Set("sliding_window", 200), {}));
  VerifyOptions options;  // texts shorter than either window: no operation departs
  options.sequences = {{1, 2, 3}};
  options.reference = ParityFolder("qwen2_sliding");
  auto report = VerifyModel(folder.path().string(), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->FirstDeparture(), nullptr);
  ASSERT_EQ(report->config_differences.size(), 2u);
  EXPECT_EQ(report->config_differences[0], "window of layer 2: the oracle reads 20, the engine 200");
  EXPECT_FALSE(report->ok());
}

// ---- Wrong arithmetic: a table of the plain loops with one function spoilt ----

const kernels::Table& Good() { return *kernels::RefTable(); }

struct FaultCase {
  const char* name;
  const char* parity;
  void (*spoil)(kernels::Table*);
  int layer;
  const char* op;
};

// The last pair of a head is not rotated.
void SpoilRope(kernels::Table* table) {
  table->rope = [](float* x, const float* cos, const float* sin, int64_t half) {
    const float a = x[half - 1], b = x[2 * half - 1];
    Good().rope(x, cos, sin, half);
    x[half - 1] = a, x[2 * half - 1] = b;
  };
}
// eps is added a thousandth too large.
void SpoilNorm(kernels::Table* table) {
  table->rms_norm = [](const float* x, const float* weight, int64_t n, float eps, float* out) {
    return Good().rms_norm(x, weight, n, eps * 1.001f, out);
  };
}
// A query sees the key after it, where there is one.
void SpoilMask(kernels::Table* table) {
  table->attention[kernels::kAttentionBf16].split = [](const kernels::AttentionArgs* args) {
    kernels::AttentionArgs changed = *args;
    changed.first_position += 1;
    Good().attention[kernels::kAttentionBf16].split(&changed);
  };
}
void SpoilScale(kernels::Table* table) {
  table->attention[kernels::kAttentionBf16].split = [](const kernels::AttentionArgs* args) {
    kernels::AttentionArgs changed = *args;
    changed.scale *= 1.02f;
    Good().attention[kernels::kAttentionBf16].split(&changed);
  };
}
// Keys and values are stored one slot late, so that position 0 holds nothing.
void SpoilCache(kernels::Table* table) {
  table->attention[kernels::kAttentionBf16].write = [](void* block, int64_t slot, int64_t d, const float* k,
                                                       const float* v) {
    if (slot + 1 < kernels::kKeyBlock)
      Good().attention[kernels::kAttentionBf16].write(block, slot + 1, d, k, v);
  };
}
template <typename Change>
void SpoilMatmul(kernels::Table* table, Change) {
  table->matrix[kernels::kBf16Bf16].matmul = [](const kernels::MatmulArgs* args) {
    Good().matrix[kernels::kBf16Bf16].matmul(args);
    Change()(*args);
  };
}
// Products are stored rounded to bf16.
void SpoilStore(kernels::Table* table) {
  SpoilMatmul(table, [](const kernels::MatmulArgs& a) {
    for (int64_t r = a.group_begin; r < std::min(a.group_end, a.m); ++r)
      for (int64_t p = a.panel_begin; a.epilogue == kernels::kStore && p < a.panel_end; ++p)
        for (int64_t lane = 0; lane < kernels::kPanel; ++lane) {
          float& y = a.out[r * a.out_stride + p * kernels::kPanel + lane];
          y = tensor::Bf16ToFloat(tensor::FloatToBf16(y));
        }
  });
}
// The residual stream is rounded to bf16 when it is added to.
void SpoilResidual(kernels::Table* table) {
  SpoilMatmul(table, [](const kernels::MatmulArgs& a) {
    for (int64_t r = a.group_begin; r < std::min(a.group_end, a.m); ++r)
      for (int64_t p = a.panel_begin; a.epilogue == kernels::kAdd && p < a.panel_end; ++p)
        for (int64_t lane = 0; lane < kernels::kPanel; ++lane) {
          float& y = a.out[r * a.out_stride + p * kernels::kPanel + lane];
          y = tensor::Bf16ToFloat(tensor::FloatToBf16(y));
        }
  });
}
// An activation of three good digits.
void SpoilSilu(kernels::Table* table) {
  SpoilMatmul(table, [](const kernels::MatmulArgs& a) {
    for (int64_t r = a.group_begin; r < std::min(a.group_end, a.m); ++r)
      for (int64_t p = a.panel_begin / 2; a.epilogue == kernels::kSiluMul && p < a.panel_end / 2; ++p)
        for (int64_t lane = 0; lane < kernels::kPanel; ++lane)
          a.out[r * a.out_stride + p * kernels::kPanel + lane] *= 1.001f;
  });
}
// The input is cut to bf16 instead of rounded.
void SpoilRounding(kernels::Table* table) {
  table->matrix[kernels::kBf16Bf16].pack_rows = [](const float* x, int64_t stride, int64_t m, int64_t k,
                                                   int64_t slices, int64_t group_begin, int64_t group_end,
                                                   void* out) {
    std::vector<float> cut(x, x + m * stride);
    for (float& value : cut) {
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      bits &= 0xffff0000u;
      std::memcpy(&value, &bits, 4);
    }
    Good().matrix[kernels::kBf16Bf16].pack_rows(cut.data(), stride, m, k, slices, group_begin, group_end,
                                                out);
  };
}

class VerifyFault : public testing::TestWithParam<FaultCase> {};

TEST_P(VerifyFault, IsNamed) {
  const FaultCase& fault = GetParam();
  static kernels::Table table;  // borrowed by the setup
  table = Good();
  fault.spoil(&table);
  auto setup = LoadSetup(ParityFolder(fault.parity), {"auto", "auto", "auto", 1}, &table, nullptr);
  ASSERT_TRUE(setup.ok()) << setup.status().message();
  auto report = VerifySetup(&*setup, {});
  ASSERT_TRUE(report.ok()) << report.status().message();
  const OperationReport* departure = report->FirstDeparture();
  ASSERT_NE(departure, nullptr) << Table(*report, true);
  EXPECT_EQ(departure->op, fault.op) << Table(*report, true);
  EXPECT_EQ(departure->layer, fault.layer);
}

INSTANTIATE_TEST_SUITE_P(All, VerifyFault,
                         testing::Values(FaultCase{"Rope", "qwen2_tied", SpoilRope, 0, "q_rope"},
                                         FaultCase{"Norm", "qwen2_mixed", SpoilNorm, 0, "input_norm"},
                                         FaultCase{"Mask", "qwen3", SpoilMask, 0, "attention"},
                                         FaultCase{"Scale", "smollm2_like", SpoilScale, 0, "attention"},
                                         FaultCase{"Cache", "llama_bias", SpoilCache, 0, "attention"},
                                         FaultCase{"Store", "llama_gqa_sharded", SpoilStore, 0, "q_proj"},
                                         FaultCase{"Residual", "qwen2_untied", SpoilResidual, 0, "o_proj"},
                                         FaultCase{"Silu", "mistral_full", SpoilSilu, 0, "mlp_act"},
                                         FaultCase{"Rounding", "qwen2_sliding", SpoilRounding, 0, "q_proj"}),
                         [](const auto& test) { return test.param.name; });

TEST(VerifyModel, BadOptionsAreSentences) {
  const auto message = [](VerifyOptions options) {
    auto report = VerifyModel(ParityFolder("qwen2_tied"), options);
    return report.ok() ? std::string() : report.status().message();
  };
  VerifyOptions options;
  options.engine.isa = "sse";
  EXPECT_NE(message(options).find("sse"), std::string::npos) << message(options);
  options = {};
  options.engine.dtype = "int8";
  EXPECT_NE(message(options).find("int8"), std::string::npos) << message(options);
  options = {};
  options.sequences = {{1, 2, 111}};
  EXPECT_NE(message(options).find("111"), std::string::npos);
  options = {};
  options.chunk = -1;
  EXPECT_NE(message(options), "");
  EXPECT_FALSE(VerifyModel("/nowhere", {}).ok());
}

TEST(VerifyModel, JsonHoldsEveryOperation) {
  auto report = VerifyModel(ParityFolder("qwen3"), {});
  ASSERT_TRUE(report.ok());
  const nlohmann::json json = nlohmann::json::parse(Json(*report));
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["operations"].size(), report->operations.size());
  EXPECT_TRUE(json["first_departure"].is_null());
  EXPECT_EQ(json["engine"]["family"], "qwen3");
}

}  // namespace
}  // namespace fusiontree::verify
