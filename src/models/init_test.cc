#include "models/init.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "checkpoint/checkpoint.h"
#include "models/fusiontree/config.h"

namespace fusiontree::models {
namespace {

namespace fs = std::filesystem;

const char* const kConfig =
    R"({"model_type": "fusiontree", "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "window_size": 8, "global_heads": 2, "gate_rank": 4,
  "srte_encoding": "factorized", "max_position_embeddings": 50, "initializer_range": 0.05})";

class InitTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("init_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::map<std::string, std::vector<float>> Write(uint64_t seed, const char* config = kConfig) {
    auto spec = ReadSpec(config);
    EXPECT_TRUE(spec.ok()) << spec.status().message();
    EXPECT_TRUE(WriteInitialWeights(**spec, seed, tensor::DType::kF32, folder_.string(), nullptr).ok());
    auto opened = checkpoint::Checkpoint::Open(folder_.string());
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    std::map<std::string, std::vector<float>> out;
    for (const checkpoint::TensorInfo& info : opened->tensors()) {
      std::vector<float>& values = out[info.name];
      values.resize(static_cast<size_t>(info.elements()));
      EXPECT_TRUE(opened->Read(info, 0, info.bytes, values.data()).ok());
    }
    return out;
  }
  fs::path folder_;
};

double Deviation(const std::vector<float>& x) {
  double square = 0;
  for (const float v : x) square += static_cast<double>(v) * v;
  return std::sqrt(square / static_cast<double>(x.size()));
}

TEST_F(InitTest, EachTensorIsAsTheDocumentSays) {
  const auto t = Write(1);
  const std::string layer = "model.layers.1.";
  // The step: a generic loop that zeroes biases would leave every channel a memory of one or two tokens.
  const std::vector<float>& bias = t.at(layer + "mamba.dt_proj.bias");
  std::vector<double> steps;
  for (const float b : bias) steps.push_back(std::log1p(std::exp(static_cast<double>(b))));
  EXPECT_GE(*std::min_element(steps.begin(), steps.end()), 0.001 * (1 - 1e-4));
  EXPECT_LE(*std::max_element(steps.begin(), steps.end()), 0.1 * (1 + 1e-4));
  double mean = 0;  // of the logarithm: half-way
  for (const double s : steps) mean += std::log(s) / static_cast<double>(steps.size());
  EXPECT_NEAR(mean, (std::log(0.001) + std::log(0.1)) / 2, 0.4);
  const std::vector<float>& a_log = t.at(layer + "mamba.A_log");
  for (size_t i = 0; i < a_log.size(); ++i)
    ASSERT_FLOAT_EQ(a_log[i], static_cast<float>(std::log(static_cast<double>(i % 16 + 1))));
  for (const float d : t.at(layer + "mamba.D")) ASSERT_EQ(d, 1.0f);
  for (const auto& [name, bound] : std::map<std::string, double>{{"mamba.dt_proj.weight", 0.5},  // R = 4
                                                                 {"mamba.conv1d.weight", 0.5},
                                                                 {"mamba.conv1d.bias", 0.5},
                                                                 {"attn.conv.weight", 0.5}}) {
    const std::vector<float>& x = t.at(layer + name);
    EXPECT_LE(*std::max_element(x.begin(), x.end()), bound) << name;
    EXPECT_NEAR(Deviation(x), bound / std::sqrt(3.0), 0.08) << name;
  }
  for (const char* name : {"attn.q_proj.weight", "fuse.w1.weight", "fuse.wr.weight", "mlp.m1.weight",
                           "mamba.in_proj.weight", "mamba.out_proj.weight"})
    EXPECT_NEAR(Deviation(t.at(layer + name)), 0.05, 0.003) << name;
  EXPECT_NEAR(Deviation(t.at("model.embed_tokens.weight")), 0.05, 0.003);
  EXPECT_NEAR(Deviation(t.at("model.srte.factor")), 0.05, 0.003);
  for (const char* name : {"fuse.wf.weight", "mlp.m2.weight"})
    EXPECT_NEAR(Deviation(t.at(layer + name)), 0.05 / 2.0, 0.002) << name;
  for (const char* name : {"fuse.w1.bias", "fuse.wf.bias", "mlp.m2.bias", "norm_in.bias"})
    EXPECT_EQ(Deviation(t.at(layer + name)), 0.0) << name;
  for (const char* name : {"norm_in.weight", "norm_m.weight", "norm_a.weight"})
    for (const float w : t.at(layer + name)) ASSERT_EQ(w, 1.0f);
  EXPECT_NE(t.at("model.layers.0.attn.q_proj.weight"), t.at(layer + "attn.q_proj.weight"));
}

TEST_F(InitTest, TheSeedAndTheNameDecideAndNothingElse) {
  const auto one = Write(1), again = Write(1), two = Write(2);
  EXPECT_EQ(one, again);
  EXPECT_NE(one.at("model.embed_tokens.weight"), two.at("model.embed_tokens.weight"));
  // A tensor of a model with another switch keeps its values; parts of a tensor are drawn alike.
  auto spec = ReadSpec(kConfig);
  TensorRule q;
  for (const TensorRule& rule : (*spec)->Rules(checkpoint::Checkpoint::Format::kSafetensors))
    if (rule.name == "model.layers.0.attn.q_proj.weight") q = rule;
  std::vector<float> part(100);
  InitialValues(q, {0.05, 2, 4}, 1, 777, 100, part.data());
  const std::vector<float>& whole = one.at(q.name);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 777));
}

TEST_F(InitTest, AFreshFolderOfEachFamilyLoads) {
  for (
      const char* config :
      {kConfig,
       R"({"model_type": "mamba", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "use_bias": true})",
       R"({"model_type": "qwen2", "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64,
            "num_attention_heads": 4, "num_key_value_heads": 2})"}) {
    Write(3, config);
    auto opened = checkpoint::Checkpoint::Open(folder_.string());
    ASSERT_TRUE(opened.ok());
    auto spec = ReadSpec(config);
    base::ThreadPool pool(1);
    ops::Context context(&pool, kernels::RefTable());
    const auto model = (*spec)->Load(*opened, {}, context);
    EXPECT_TRUE(model.ok()) << model.status().message();
  }
}

}  // namespace
}  // namespace fusiontree::models
