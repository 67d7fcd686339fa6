// For tests: verify on a model cut over ranks, of which the second reads another checkpoint.
#ifndef FUSIONTREE_VERIFY_RANK_MUTANT_H_
#define FUSIONTREE_VERIFY_RANK_MUTANT_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "kernels/table.h"
#include "models/distributed.h"
#include "parallel/local.h"
#include "verify/mutant.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {

// Rank 1 reads `second`, the others `path`, without the comparison of checkpoints at the start.
inline base::Result<VerifyReport> VerifyOnRanks(const std::string& path, const std::string& second, int ranks,
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
        options.sequences = RandomTexts(1, {40, 24}, setup.model().config().vocab_size);
        setup.used.threads = 1;
        report = VerifySetup(&setup, options);
        return report->status();
      });
  if (!status.ok()) return status;
  return *report;
}

// What the second of two ranks would hold if the tensor were cut along the other dimension: `share` of it,
// the last, laid out as if it were the right part. `by_rows`: the right cut is by rows.
inline ChangeTensor WrongCut(const std::string& name, bool by_rows, double share) {
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
inline ChangeTensor Dropped(const std::string& name, double share) {
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

// The first departure must be the mutant's, in fp32 and in bf16.
inline void ExpectNamed(const std::string& right, const RankMutant& mutant) {
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(WriteMutant(right, folder.path(), nullptr, {mutant.change}));
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    const auto report = VerifyOnRanks(right, folder.path().string(), 2, compute);
    ASSERT_TRUE(report.ok()) << report.status().message();
    const OperationReport* departure = report->FirstDeparture();
    ASSERT_NE(departure, nullptr) << Table(*report, true);
    EXPECT_EQ(departure->op, mutant.op) << Table(*report, true);
    EXPECT_EQ(departure->layer, mutant.layer);
  }
}

}  // namespace fusiontree::verify

#endif  // FUSIONTREE_VERIFY_RANK_MUTANT_H_
