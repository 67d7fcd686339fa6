// verify on a model cut over ranks: nothing departs, and what one rank has wrongly is named: a tensor cut
// along the other dimension, a lost piece of a bias, heads in each other's place.
#include <gtest/gtest.h>

#include "verify/rank_mutant.h"

namespace fusiontree::verify {
namespace {

TEST(VerifyRanks, NothingDeparts) {
  // Six slices with three KV heads: a KV head on two ranks; then fewer KV heads than ranks; four; three.
  const std::pair<const char*, int> cases[] = {
      {"llama_bias", 2}, {"llama_bias", 6}, {"llama_head_dim", 4}, {"qwen3_bias", 2}, {"smollm2_like", 3}};
  for (const auto& [model, ranks] : cases) {
    for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
      const auto report = VerifyOnRanks(ParityFolder(model), ParityFolder(model), ranks, compute);
      ASSERT_TRUE(report.ok()) << report.status().message();
      EXPECT_TRUE(report->ok()) << model << ", " << ranks << " ranks\n" << Table(*report, true);
    }
  }
}

// llama_bias on two ranks: rank 1 holds query heads 3 to 5, KV heads 1 and 2, columns 36 to 71 of o, rows and
// columns 42 to 83 of the MLP, and the vocabulary's one block.
std::vector<RankMutant> RankMutants() {
  const std::string layer = "model.layers.1.", attention = layer + "self_attn.", mlp = layer + "mlp.";
  const double two_thirds = 2.0 / 3.0;
  return {{"CutQ", WrongCut(attention + "q_proj.weight", true, 0.5), "q_proj"},
          {"CutK", WrongCut(attention + "k_proj.weight", true, two_thirds), "k_proj"},
          {"CutV", WrongCut(attention + "v_proj.weight", true, two_thirds), "v_proj"},
          {"CutO", WrongCut(attention + "o_proj.weight", false, 0.5), "o_proj"},
          {"CutGate", WrongCut(mlp + "gate_proj.weight", true, 0.5), "mlp_act"},
          {"CutUp", WrongCut(mlp + "up_proj.weight", true, 0.5), "mlp_act"},
          {"CutDown", WrongCut(mlp + "down_proj.weight", false, 0.5), "down_proj"},
          {"DropQBias", Dropped(attention + "q_proj.bias", 0.5), "q_proj"},
          {"DropKBias", Dropped(attention + "k_proj.bias", two_thirds), "k_proj"},
          {"DropVBias", Dropped(attention + "v_proj.bias", two_thirds), "v_proj"},
          {"DropGateBias", Dropped(mlp + "gate_proj.bias", 0.5), "mlp_act"},
          {"DropUpBias", Dropped(mlp + "up_proj.bias", 0.5), "mlp_act"},
          // These two are on every rank: one that lacks them goes on with another stream than the others.
          {"DropOBias", Dropped(attention + "o_proj.bias", 1.0), "mlp_act"},
          {"DropDownBias", Dropped("model.layers.0.mlp.down_proj.bias", 1.0), "q_proj"},
          {"SwapQueryHeads", SwapRows(attention + "q_proj.weight", 36, 48, 12), "q_proj"},
          {"SwapKeyHeads", SwapRows(attention + "k_proj.weight", 12, 24, 12), "k_proj"},
          {"SwapValueHeads", SwapRows(attention + "v_proj.weight", 12, 24, 12), "v_proj"},
          {"SwapEmbeddingRows", SwapRows("model.embed_tokens.weight", 3, 5, 1), "embed", -1},
          {"SwapHeadRows", SwapRows("lm_head.weight", 3, 5, 1), "logits", -1}};
}

class VerifyRankMutant : public testing::TestWithParam<RankMutant> {};

TEST_P(VerifyRankMutant, IsNamed) { ExpectNamed(ParityFolder("llama_bias"), GetParam()); }

INSTANTIATE_TEST_SUITE_P(All, VerifyRankMutant, testing::ValuesIn(RankMutants()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace fusiontree::verify
