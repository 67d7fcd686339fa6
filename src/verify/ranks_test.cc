// verify on a model cut over ranks: nothing departs, and what one rank has wrongly is named: a tensor cut
// along the other dimension, a lost piece of a bias, heads in each other's place.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/table.h"
#include "models/distributed.h"
#include "parallel/local.h"
#include "verify/mutant.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

// Rank 1 reads `second`, the others `path`, without the comparison of checkpoints at the start.
base::Result<VerifyReport> VerifyOnRanks(const std::string& path, const std::string& second, int ranks,
                                         models::ComputeType compute) {
  std::optional<base::Result<VerifyReport>> report;
  const base::Status status =
      parallel::RunRanks(ranks, [&](parallel::Communicator& communicator) -> base::Status {
        Setup setup{std::make_unique<engine::Runtime>(), compute, {}};
        engine::Runtime& runtime = *setup.runtime;
        FT_ASSIGN_OR_RETURN(checkpoint::Checkpoint opened,
                            checkpoint::Checkpoint::Open(communicator.rank() == 1 ? second : path));
        runtime.checkpoint.emplace(std::move(opened));
        runtime.pool = std::make_unique<base::ThreadPool>(1);
        runtime.context =
            std::make_unique<ops::Context>(runtime.pool.get(), kernels::RefTable(), &communicator);
        FT_ASSIGN_OR_RETURN(runtime.model,
                            models::LoadModel(*runtime.checkpoint, {.compute = compute}, *runtime.context));
        if (communicator.rank() != 0)
          return models::FollowModel(*runtime.model, *runtime.context,
                                     [](const parallel::Record&) { return base::Failed("unexpected"); });
        runtime.model = models::MakeDistributed(std::move(runtime.model), 0, 0, *runtime.context);
        VerifyOptions options;
        options.sequences = RandomTexts(1, {40, 24}, 97);
        setup.used.threads = 1;
        report = VerifySetup(&setup, options);
        return report->status();
      });
  if (!status.ok()) return status;
  return *report;
}

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

// What the second of two ranks would hold if the tensor were cut along the other dimension: `share` of it,
// the last, laid out as if it were the right part. `by_rows`: the right cut is by rows.
ChangeTensor WrongCut(const std::string& name, bool by_rows, double share) {
  return {name, [by_rows, share](Bytes* bytes, const checkpoint::TensorInfo& tensor) {
            const size_t rows = static_cast<size_t>(tensor.shape[0]),
                         columns = static_cast<size_t>(tensor.shape[1]);
            const size_t size = bytes->size() / (rows * columns);
            const auto from = [share](size_t n) {
              return n - static_cast<size_t>(static_cast<double>(n) * share + 0.5);
            };
            const size_t wrong_row = by_rows ? 0 : from(rows), wrong_column = by_rows ? from(columns) : 0;
            const size_t right_row = by_rows ? from(rows) : 0, right_column = by_rows ? 0 : from(columns);
            Bytes wrong;
            for (size_t r = wrong_row; r < rows; ++r)
              wrong.insert(wrong.end(),
                           bytes->begin() + static_cast<std::ptrdiff_t>((r * columns + wrong_column) * size),
                           bytes->begin() + static_cast<std::ptrdiff_t>((r + 1) * columns * size));
            size_t at = 0;
            for (size_t r = right_row; r < rows; ++r)
              for (size_t i = (r * columns + right_column) * size; i < (r + 1) * columns * size; ++i)
                (*bytes)[i] = wrong[at++];
            ASSERT_EQ(at, wrong.size());
          }};
}
ChangeTensor Dropped(const std::string& name, double share) {
  return {name, [share](Bytes* bytes, const checkpoint::TensorInfo&) {
            const size_t from =
                bytes->size() - static_cast<size_t>(static_cast<double>(bytes->size()) * share + 0.5);
            std::fill(bytes->begin() + static_cast<std::ptrdiff_t>(from), bytes->end(), uint8_t{0});
          }};
}

struct RankMutant {
  const char* name;
  ChangeTensor change;
  const char* op;
  int layer = 1;
};

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

TEST_P(VerifyRankMutant, IsNamed) {
  const std::string right = ParityFolder("llama_bias");
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(WriteMutant(right, folder.path(), nullptr, {GetParam().change}));
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    const auto report = VerifyOnRanks(right, folder.path().string(), 2, compute);
    ASSERT_TRUE(report.ok()) << report.status().message();
    const OperationReport* departure = report->FirstDeparture();
    ASSERT_NE(departure, nullptr) << Table(*report, true);
    EXPECT_EQ(departure->op, GetParam().op) << Table(*report, true);
    EXPECT_EQ(departure->layer, GetParam().layer);
  }
}

INSTANTIATE_TEST_SUITE_P(All, VerifyRankMutant, testing::ValuesIn(RankMutants()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace fusiontree::verify
