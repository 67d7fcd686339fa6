// What is wrong with the weights or the config of a FusionTree or Mamba model is named by the operation: the
// engine loads the mutant, the oracle the original.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/sample.h"
#include "verify/mutant.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

struct MutantCase {
  std::string name, model;
  ChangeConfig config;
  std::vector<ChangeTensor> tensors;
  int layer;
  const char* op;
};

// One step of bf16 in one element: each tensor of a layer by the first operation that it changes.
std::vector<MutantCase> MutantCases() {
  std::vector<MutantCase> out;
  const auto weight = [&](const char* name, const char* model, const std::string& tensor, size_t element,
                          int layer, const char* op) {
    out.push_back({name, model, nullptr, {OneStep(tensor, element)}, layer, op});
  };
  const auto config = [&](const char* name, const char* model, const char* key, nlohmann::json value,
                          int layer, const char* op) {
    out.push_back({name, model, Set(key, std::move(value)), {}, layer, op});
  };
  const char* base = "fusiontree/base";  // H 16, D 32, N 4, R 1, r 4, heads of 4
  const std::string l1 = "model.layers.1.", mamba = l1 + "mamba.", attn = l1 + "attn.";
  weight("SrteTable", "fusiontree/srte_learnable", "model.srte.weight", 33, -1, "srte");
  weight("SrteTableOfALayer", "fusiontree/srte_learnable_per_layer", l1 + "srte.weight", 40, 1, "srte");
  weight("SrteFactor", "fusiontree/srte_factorized", "model.srte.factor", 7, -1, "srte");
  weight("SrteBasis", "fusiontree/srte_factorized_per_layer_ssm_norm", l1 + "srte.basis", 2, 1, "srte");
  weight("NormIn", base, l1 + "norm_in.weight", 3, 1, "norm_in");
  weight("NormInBias", base, l1 + "norm_in.bias", 15, 1, "norm_in");
  weight("InProjX", base, mamba + "in_proj.weight", 31 * 16, 1, "in_proj_x");
  weight("InProjZ", base, mamba + "in_proj.weight", 32 * 16, 1, "in_proj_z");
  weight("Conv", base, mamba + "conv1d.weight", 5, 1, "conv");
  weight("ConvBias", base, mamba + "conv1d.bias", 31, 1, "conv");
  weight("XProjDt", base, mamba + "x_proj.weight", 31, 1, "x_proj_dt");
  weight("XProjB", base, mamba + "x_proj.weight", 32, 1, "x_proj_b");
  weight("XProjC", base, mamba + "x_proj.weight", 5 * 32, 1, "x_proj_c");
  weight("DtNorm", "fusiontree/ssm_norm", mamba + "dt_norm.weight", 2, 1, "dt_norm");
  weight("BNorm", "fusiontree/ssm_norm", mamba + "b_norm.weight", 0, 1, "b_norm");
  weight("CNorm", "fusiontree/ssm_norm", mamba + "c_norm.weight", 3, 1, "c_norm");
  weight("DtProj", base, mamba + "dt_proj.weight", 30, 1, "dt_proj");
  weight("DtBias", base, mamba + "dt_proj.bias", 29, 1, "dt_proj");
  weight("ALog", base, mamba + "A_log", 127, 1, "scan");
  weight("D", base, mamba + "D", 31, 1, "scan");
  weight("OutProj", base, mamba + "out_proj.weight", 500, 1, "mamba_out");
  weight("NormM", base, l1 + "norm_m.weight", 1, 1, "norm_m");
  weight("NormMid", "fusiontree/serial", l1 + "norm_mid.bias", 1, 1, "norm_mid");
  weight("AttnConv", base, attn + "conv.weight", 63, 1, "attn_conv");
  weight("Q", base, attn + "q_proj.weight", 255, 1, "q_proj");
  weight("K", base, attn + "k_proj.weight", 100, 1, "k_proj");
  weight("V", base, attn + "v_proj.weight", 127, 1, "v_proj");
  weight("O", base, attn + "o_proj.weight", 17, 1, "attn_out");
  weight("NormA", base, l1 + "norm_a.weight", 15, 1, "norm_a");
  weight("W1", base, l1 + "fuse.w1.weight", 511, 1, "align_act");
  weight("W1Bias", base, l1 + "fuse.w1.bias", 15, 1, "align_act");
  weight("Wr", base, l1 + "fuse.wr.weight", 16, 1, "align_wr");
  weight("WrBias", base, l1 + "fuse.wr.bias", 0, 1, "align_wr");
  weight("W2", base, l1 + "fuse.w2.weight", 9, 1, "align");
  weight("W2Bias", base, l1 + "fuse.w2.bias", 9, 1, "align");
  weight("Gu", base, l1 + "gate.gu.weight", 63, 1, "gate_act");
  weight("Gd", base, l1 + "gate.gd.weight", 63, 1, "gate");
  weight("GdOfAToken", "fusiontree/gate_token", l1 + "gate.gd.weight", 2, 1, "gate");
  weight("Wf", base, l1 + "fuse.wf.weight", 255, 1, "fuse_out");
  weight("WfBias", base, l1 + "fuse.wf.bias", 3, 1, "fuse_out");
  weight("M1", base, l1 + "mlp.m1.weight", 511, 1, "mlp_act");
  weight("M1Bias", base, l1 + "mlp.m1.bias", 31, 1, "mlp_act");
  weight("M2", base, l1 + "mlp.m2.weight", 511, 1, "mlp_out");
  weight("M2Bias", base, l1 + "mlp.m2.bias", 0, 1, "mlp_out");
  weight("NormOut", "fusiontree/post", l1 + "norm_out.bias", 4, 1, "layer_out");
  weight("FinalNormBias", base, "model.norm.bias", 4, -1, "final_norm");
  weight("Head", "fusiontree/untied", "lm_head.weight", 47 * 16, -1, "logits");
  weight("PrunedW1", "fusiontree/layer_types", "model.layers.2.fuse.w1.weight", 255, 2, "align_act");
  weight("LocalO", "fusiontree/layer_types", "model.layers.3.attn.o_proj.weight", 7, 3, "attn_out");
  config("WindowWider", base, "window_size", 8, 0, "attention");
  config("NoGlobalHeads", base, "global_heads", 0, 0, "attention");
  config("AllHeadsGlobal", base, "global_heads", 4, 0, "attention");
  config("Pyramid", "fusiontree/pyramidal", "base_window", 4, 0, "attention");
  config("PyramidsMiddle", "fusiontree/pyramidal_narrowing", "window_size", 1, 1, "attention");
  config("Theta", "fusiontree/all_global_heads", "rope_theta", 100.1, 0, "q_rope");
  config("Epsilon", "fusiontree/rmsnorm", "norm_eps", 0.0031, 0, "norm_in");
  const std::string mixer = "backbone.layers.1.mixer.";
  weight("MambaNorm", "mamba/defaults", "backbone.layers.1.norm.weight", 23, 1, "norm_in");
  weight("MambaInBias", "mamba/biases", mixer + "in_proj.bias", 24, 1, "in_proj_z");
  weight("MambaOutBias", "mamba/biases", mixer + "out_proj.bias", 23, 1, "layer_out");
  weight("MambaALog", "mamba/untied_rank", mixer + "A_log", 159, 1, "scan");
  weight("MambaEmbedding", "mamba/defaults", "backbone.embeddings.weight", 30, -1, "embed");
  config("MambaEpsilon", "mamba/biases", "layer_norm_epsilon", 0.0031, 0, "norm_in");
  return out;
}

class VerifyFusionMutant : public testing::TestWithParam<MutantCase> {};

TEST_P(VerifyFusionMutant, IsNamed) {
  const MutantCase& mutant = GetParam();
  const std::string right = DataFolder(mutant.model);
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(WriteMutant(right, folder.path(), mutant.config, mutant.tensors));
  VerifyOptions options;
  options.engine.threads = 1;
  options.sequences = {{}};
  for (int32_t id = 0; id < 48; ++id) options.sequences[0].push_back(id);
  options.reference = right;
  for (const char* dtype : {"f32", "bf16"}) {
    options.engine.dtype = dtype;
    auto report = VerifyModel(folder.path().string(), options);
    ASSERT_TRUE(report.ok()) << report.status().message();
    const OperationReport* departure = report->FirstDeparture();
    ASSERT_NE(departure, nullptr) << dtype << "\n" << Table(*report, true);
    EXPECT_EQ(departure->op, mutant.op) << dtype << "\n" << Table(*report, true);
    EXPECT_EQ(departure->layer, mutant.layer) << dtype;
  }
}

INSTANTIATE_TEST_SUITE_P(All, VerifyFusionMutant, testing::ValuesIn(base::Sample(MutantCases(), 3)),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace fusiontree::verify
