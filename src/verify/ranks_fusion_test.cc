// verify on FusionTree and Mamba cut over ranks: nothing departs, and what one rank holds wrongly is named.
#include <gtest/gtest.h>

#include "verify/rank_mutant.h"

namespace fusiontree::verify {
namespace {

TEST(VerifyFusionRanks, NothingDeparts) {
  // All heads of a kind on one rank; a KV head on two; pruned layers, whose ranks may have no heads.
  const std::pair<const char*, int> cases[] = {{"fusiontree/base_bf16", 2},
                                               {"fusiontree/base_bf16", 4},
                                               {"fusiontree/rmsnorm", 2},
                                               {"fusiontree/layer_types", 4},
                                               {"fusiontree/one_kv_head", 2},
                                               {"fusiontree/layer_types_serial", 2},
                                               {"fusiontree/serial_token_rms_post", 2},
                                               {"mamba/biases", 2},
                                               {"mamba/defaults", 4}};
  for (const auto& [model, ranks] : cases) {
    for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
      const auto report = VerifyOnRanks(DataFolder(model), DataFolder(model), ranks, compute);
      ASSERT_TRUE(report.ok()) << model << ": " << report.status().message();
      EXPECT_TRUE(report->ok()) << model << ", " << ranks << " ranks\n" << Table(*report, true);
    }
  }
}

// Columns [begin, begin + count) of a matrix are overwritten by those from `from` on.
ChangeTensor CopyColumns(const std::string& name, size_t begin, size_t from, size_t count) {
  return {name, [begin, from, count](Bytes* bytes, const checkpoint::TensorInfo& tensor) {
            const size_t rows = static_cast<size_t>(tensor.shape[0]), row = bytes->size() / rows;
            const size_t size = row / static_cast<size_t>(tensor.shape[1]);
            for (size_t r = 0; r < rows; ++r)
              std::copy_n(bytes->begin() + static_cast<std::ptrdiff_t>(r * row + from * size), count * size,
                          bytes->begin() + static_cast<std::ptrdiff_t>(r * row + begin * size));
          }};
}
// Row r becomes row r - 1, the first the last.
ChangeTensor ShiftRows(const std::string& name) {
  return {name, [](Bytes* bytes, const checkpoint::TensorInfo& tensor) {
            const size_t row = bytes->size() / static_cast<size_t>(tensor.shape[0]);
            std::rotate(bytes->begin(), bytes->end() - static_cast<std::ptrdiff_t>(row), bytes->end());
          }};
}

// fusiontree/base_bf16 (H 32, D 64, N 8, R 3, 4 heads of 8 on 2 KV heads) on two ranks: rank 1 holds channels
// 32 to 63, heads 2 and 3, KV head 1, rows 16 to 31 of w1, columns 16 to 31 of w2, 32 to 63 of m1 and m2.
std::vector<RankMutant> RankMutants() {
  const std::string layer = "model.layers.1.", mamba = layer + "mamba.", attention = layer + "attn.";
  return {{"SwapHalvesOfInProj", SwapRows(mamba + "in_proj.weight", 0, 64, 64), "in_proj_x"},
          {"SwapZ", SwapRows(mamba + "in_proj.weight", 64, 96, 32), "in_proj_z"},
          {"ShiftConvRows", ShiftRows(mamba + "conv1d.weight"), "conv"},
          {"DropConvBias", Dropped(mamba + "conv1d.bias", 0.5), "conv"},
          {"CutXProj", CopyColumns(mamba + "x_proj.weight", 32, 0, 32), "x_proj_dt"},
          {"SwapPartsOfXProj", SwapRows(mamba + "x_proj.weight", 3, 11, 8), "x_proj_b"},
          {"CutDtProj", SwapRows(mamba + "dt_proj.weight", 0, 32, 32), "dt_proj"},
          {"DropDtBias", Dropped(mamba + "dt_proj.bias", 0.5), "dt_proj"},
          {"AnotherRanksALog", SwapRows(mamba + "A_log", 0, 32, 32), "scan"},
          {"AnotherRanksD", SwapRows(mamba + "D", 0, 32, 32), "scan"},
          {"CutOutProj", CopyColumns(mamba + "out_proj.weight", 32, 0, 32), "mamba_out"},
          {"SwapQueryHeads", SwapRows(attention + "q_proj.weight", 16, 24, 8), "q_proj"},
          {"AnotherRanksKeyHead", SwapRows(attention + "k_proj.weight", 0, 8, 8), "k_proj"},
          {"AnotherRanksValueHead", SwapRows(attention + "v_proj.weight", 0, 8, 8), "v_proj"},
          {"CutO", CopyColumns(attention + "o_proj.weight", 16, 0, 16), "attn_out"},
          {"CutW1", WrongCut(layer + "fuse.w1.weight", true, 0.5), "align_act"},
          {"DropW1Bias", Dropped(layer + "fuse.w1.bias", 0.5), "align_act"},
          {"CutW2", WrongCut(layer + "fuse.w2.weight", false, 0.5), "align"},
          {"CutM1", WrongCut(layer + "mlp.m1.weight", true, 0.5), "mlp_act"},
          {"DropM1Bias", Dropped(layer + "mlp.m1.bias", 0.5), "mlp_act"},
          {"AnotherRanksM2", CopyColumns(layer + "mlp.m2.weight", 32, 0, 32), "mlp_out"},
          // On every rank: one that lacks it goes on with another stream than the others.
          {"DropM2Bias", Dropped("model.layers.0.mlp.m2.bias", 1.0), "in_proj_x"},
          {"DropWfBias", Dropped("model.layers.0.fuse.wf.bias", 1.0), "in_proj_x"},
          {"DropWrBias", Dropped(layer + "fuse.wr.bias", 1.0), "mlp_act"},
          {"SwapEmbeddingRows", SwapRows("model.embed_tokens.weight", 3, 5, 1), "embed", -1}};
}

class VerifyFusionRankMutant : public testing::TestWithParam<RankMutant> {};

TEST_P(VerifyFusionRankMutant, IsNamed) { ExpectNamed(DataFolder("fusiontree/base_bf16"), GetParam()); }

INSTANTIATE_TEST_SUITE_P(All, VerifyFusionRankMutant, testing::ValuesIn(RankMutants()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace fusiontree::verify
