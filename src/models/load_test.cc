// Loading: every tensor is consumed exactly once or the load fails naming it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>

#include "checkpoint/safetensors_writer.h"
#include "kernels/table.h"
#include "models/model.h"

namespace fusiontree::models {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;
using checkpoint::TensorInfo;

struct Tensor {
  tensor::DType type;
  std::vector<int64_t> shape;
  std::vector<char> bytes;
};
using Tensors = std::map<std::string, Tensor>;

class LoadModelTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("load_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A copy of a golden checkpoint, changed, then loaded; the error, or "" when it loads.
  std::string Load(const std::string& name, const std::function<void(Tensors&)>& change,
                   ComputeType compute = ComputeType::kAuto) {
    const bool elsewhere = name.find('/') != std::string::npos;  // than in testdata/parity
    const fs::path source = fs::path(FUSIONTREE_TESTDATA) / (elsewhere ? name : "parity/" + name);
    auto opened = Checkpoint::Open(source.string());
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    Tensors tensors;
    for (const TensorInfo& info : opened->tensors()) {
      Tensor t{info.type, info.shape, std::vector<char>(info.bytes)};
      EXPECT_TRUE(opened->Read(info, 0, info.bytes, t.bytes.data()).ok());
      tensors[info.name] = std::move(t);
    }
    change(tensors);
    fs::copy_file(source / "config.json", folder_ / "config.json", fs::copy_options::overwrite_existing);
    std::vector<checkpoint::TensorSpec> specs;
    for (const auto& [key, t] : tensors) specs.push_back({key, t.type, t.shape});
    auto writer = checkpoint::SafetensorsWriter::Create((folder_ / "model.safetensors").string(), specs);
    EXPECT_TRUE(writer.ok()) << writer.status().message();
    for (const auto& [key, t] : tensors)
      EXPECT_TRUE(writer->Append(key, t.bytes.data(), t.bytes.size()).ok());
    EXPECT_TRUE(writer->Finish().ok());

    auto copy = Checkpoint::Open(folder_.string());
    if (!copy.ok()) return copy.status().message();
    base::ThreadPool pool(2);
    ops::Context context(&pool, kernels::RefTable());
    ModelOptions options;
    options.compute = compute;
    auto model = LoadModel(copy.value(), options, context);
    return model.ok() ? "" : model.status().message();
  }

  fs::path folder_;
};

bool Names(const std::string& error, const std::string& part) {
  return error.find(part) != std::string::npos;
}

TEST_F(LoadModelTest, AnUnchangedCopyLoadsInEveryType) {
  for (ComputeType compute : {ComputeType::kAuto, ComputeType::kF32, ComputeType::kBf16})
    EXPECT_EQ(Load(
                  "qwen2_mixed", [](Tensors&) {}, compute),
              "");
}

TEST_F(LoadModelTest, EachMissingTensorIsNamed) {
  auto opened = Checkpoint::Open((fs::path(FUSIONTREE_TESTDATA) / "parity" / "qwen2_untied").string());
  ASSERT_TRUE(opened.ok());
  for (const TensorInfo& info : opened->tensors()) {
    const std::string error = Load("qwen2_untied", [&](Tensors& t) { t.erase(info.name); });
    EXPECT_TRUE(Names(error, info.name + " is missing")) << info.name << ": " << error;
  }
}

TEST_F(LoadModelTest, EachMissingTensorOfAStatefulModelIsNamed) {
  for (const char* name : {"fusiontree/layer_types_serial", "fusiontree/srte_factorized_per_layer_ssm_norm",
                           "fusiontree/serial_token_rms_post", "mamba/biases"}) {
    auto opened = Checkpoint::Open((fs::path(FUSIONTREE_TESTDATA) / name).string());
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(Load(name, [](Tensors&) {}), "");
    for (const TensorInfo& info : opened->tensors()) {
      const std::string error = Load(name, [&](Tensors& t) { t.erase(info.name); });
      EXPECT_TRUE(Names(error, info.name + " is missing")) << info.name << ": " << error;
    }
  }
}

TEST_F(LoadModelTest, WhatAPrunedLayerHasLostMayNotBeThere) {
  const std::string pruned = "fusiontree/layer_types";
  const auto with = [&](const std::string& name, const std::string& like) {
    return Load(pruned, [&](Tensors& t) { t[name] = t.at(like); });
  };
  for (const char* gate : {"model.layers.1.gate.gu.weight", "model.layers.2.gate.gd.weight"})
    EXPECT_TRUE(Names(with(gate, "model.layers.0.gate.gu.weight"), std::string(gate) + " ")) << gate;
  EXPECT_TRUE(Names(with("model.layers.1.attn.q_proj.weight", "model.layers.0.attn.q_proj.weight"),
                    "layers.1.attn.q_proj"));
  EXPECT_TRUE(Names(with("model.layers.2.mamba.D", "model.layers.0.mamba.D"), "layers.2.mamba.D"));
  // The unpruned halves and heads have other shapes.
  const std::string wide = Load(
      pruned, [](Tensors& t) { t["model.layers.1.fuse.w1.weight"] = t.at("model.layers.0.fuse.w1.weight"); });
  EXPECT_TRUE(Names(wide, "model.layers.1.fuse.w1.weight has shape [16, 32], expected [16, 16]")) << wide;
  const std::string heads = Load(pruned, [](Tensors& t) {
    t["model.layers.3.attn.q_proj.weight"] = t.at("model.layers.0.attn.q_proj.weight");
  });
  EXPECT_TRUE(Names(heads, "model.layers.3.attn.q_proj.weight has shape")) << heads;
}

TEST_F(LoadModelTest, TheScansOwnTensorsAreStoredInF32) {
  for (const char* name : {"mamba.A_log", "mamba.D", "mamba.dt_proj.bias"}) {
    const std::string tensor = std::string("model.layers.0.") + name;
    const std::string error = Load("fusiontree/base", [&](Tensors& t) {
      Tensor& stored = t.at(tensor);
      stored.type = tensor::DType::kBF16;
      stored.bytes.resize(stored.bytes.size() / 2);
    });
    EXPECT_TRUE(Names(error, tensor + " has type BF16, expected F32")) << error;
  }
}

TEST_F(LoadModelTest, ALeftoverTensorIsNamed) {
  EXPECT_TRUE(
      Names(Load("qwen2_untied",
                 [](Tensors& t) { t["model.layers.0.self_attn.q_norm.weight"] = t["model.norm.weight"]; }),
            "q_norm.weight"));
  EXPECT_TRUE(
      Names(Load("llama2_mha",
                 [](Tensors& t) { t["model.layers.7.input_layernorm.weight"] = t["model.norm.weight"]; }),
            "layers.7"));
}

TEST_F(LoadModelTest, KnownLeftoversAreHarmless) {
  EXPECT_EQ(
      Load("llama2_mha",
           [](Tensors& t) { t["model.layers.0.self_attn.rotary_emb.inv_freq"] = t["model.norm.weight"]; }),
      "");
}

TEST_F(LoadModelTest, AWrongShapeOrTypeIsNamed) {
  EXPECT_TRUE(Names(Load("qwen2_tied",
                         [](Tensors& t) {
                           Tensor& w = t["model.norm.weight"];
                           w.shape = {1};
                           w.bytes.resize(tensor::Info(w.type).bytes);
                         }),
                    "model.norm.weight has shape [1]"));
  EXPECT_TRUE(Names(Load("qwen2_tied",
                         [](Tensors& t) {
                           auto& shape = t["model.layers.0.mlp.down_proj.weight"].shape;
                           std::swap(shape[0], shape[1]);
                         }),
                    "model.layers.0.mlp.down_proj.weight has shape"));
  EXPECT_TRUE(Names(Load("qwen2_tied",
                         [](Tensors& t) {
                           Tensor& w = t["model.norm.weight"];
                           w.type = tensor::DType::kI64;
                           w.bytes.assign(static_cast<size_t>(w.shape[0]) * 8, 0);
                         }),
                    "expected a float type"));
}

TEST_F(LoadModelTest, NonFiniteWeightsAreNamed) {
  for (const char* name :
       {"model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.k_proj.bias", "model.norm.weight"}) {
    const std::string error = Load("qwen2_tied", [&](Tensors& t) {
      Tensor& w = t[name];
      const float nan = std::numeric_limits<float>::quiet_NaN();
      if (w.type == tensor::DType::kF32) {
        std::memcpy(w.bytes.data() + 8, &nan, 4);
      } else {
        w.bytes[8] = static_cast<char>(0x80), w.bytes[9] = static_cast<char>(0x7f);  // bf16 infinity, f16 NaN
      }
    });
    EXPECT_TRUE(Names(error, name) && Names(error, "infinite or NaN")) << error;
  }
}

TEST_F(LoadModelTest, ATiedHeadMayBeThereOnlyWhenItIsEqual) {
  EXPECT_EQ(Load("qwen2_tied", [](Tensors& t) { t["lm_head.weight"] = t["model.embed_tokens.weight"]; }), "");
  EXPECT_TRUE(Names(Load("qwen2_tied",
                         [](Tensors& t) {
                           t["lm_head.weight"] = t["model.embed_tokens.weight"];
                           t["lm_head.weight"].bytes[6] ^= 1;
                         }),
                    "lm_head.weight differ"));
}

}  // namespace
}  // namespace fusiontree::models
