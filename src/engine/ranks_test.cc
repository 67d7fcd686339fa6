// A model cut over ranks gives the bits of one rank (R2): every family and option of testdata/parity, every valid
// degree, as threads of this process.
#include "engine/ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/forced_run.h"
#include "parallel/local.h"
#include "parallel/tree.h"

namespace fusiontree::engine {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::vector<int32_t>>;

std::vector<std::string> Models() {
  std::vector<std::string> models;
  for (const auto& entry : fs::directory_iterator(fs::path(FUSIONTREE_TESTDATA) / "parity"))
    if (entry.is_directory()) models.push_back(entry.path().filename());
  std::sort(models.begin(), models.end());
  return models;
}

struct Schedule {
  int threads;
  bool together;
  int64_t chunk;
};

base::Status Logits(Runtime& runtime, const Texts& texts, const Schedule& schedule, std::vector<float>* out) {
  const int64_t vocab = runtime.model->config().vocab_size;
  std::vector<size_t> first = {0};
  for (const auto& text : texts) first.push_back(first.back() + text.size());
  out->assign(first.back() * static_cast<size_t>(vocab), 0);
  ForcedOptions options;
  options.chunk = schedule.chunk;
  options.together = schedule.together;
  return ForcedRun(*runtime.context, *runtime.model, texts, options,
                   [&](int64_t text, int64_t position, const float* row) {
                     const size_t at = first[static_cast<size_t>(text)] + static_cast<size_t>(position);
                     std::copy_n(row, vocab, out->begin() + static_cast<int64_t>(at) * vocab);
                     return base::OkStatus();
                   });
}

class Ranks : public testing::TestWithParam<std::string> {
 protected:
  std::string path() const { return (fs::path(FUSIONTREE_TESTDATA) / "parity" / GetParam()).string(); }
  static Texts TextsOf(int64_t vocab) {
    Texts texts(3);
    const size_t lengths[] = {70, 1, 17};
    for (size_t t = 0; t < texts.size(); ++t)
      for (size_t i = 0; i < lengths[t]; ++i)
        texts[t].push_back(static_cast<int32_t>((i * 37 + t * 11 + 5) % static_cast<size_t>(vocab)));
    return texts;
  }
};

TEST_P(Ranks, EveryDegreeGivesTheBitsOfOneRank) {
  for (const char* dtype : {"f32", "bf16"}) {
    EngineOptions options;
    options.isa = "ref";
    options.dtype = dtype;
    options.threads = 1;
    auto one = MakeRuntime(path(), options);
    ASSERT_TRUE(one.ok()) << one.status().message();
    const Texts texts = TextsOf((*one)->model->config().vocab_size);
    std::vector<float> expected;
    ASSERT_TRUE(Logits(**one, texts, {1, true, 512}, &expected).ok());
    for (const int64_t degree : parallel::ValidDegrees((*one)->model->config().reduction_slices)) {
      if (degree == 1) continue;
      for (const Schedule& schedule : {Schedule{1, true, 512}, Schedule{2, false, 16}, Schedule{1, true, 1}}) {
        const base::Status status =
            parallel::RunRanks(static_cast<int>(degree), [&](parallel::Communicator& communicator) -> base::Status {
              if (communicator.rank() != 0) return Follow(communicator);
              EngineOptions cut = options;
              cut.communicator = &communicator;
              cut.threads = schedule.threads;
              std::vector<float> got;
              {
                FT_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime, MakeRuntime(path(), cut));
                FT_RETURN_IF_ERROR(Logits(*runtime, texts, schedule, &got));
              }
              EndRanks(communicator);
              EXPECT_EQ(std::memcmp(got.data(), expected.data(), expected.size() * sizeof(float)), 0)
                  << dtype << ", " << degree << " ranks, chunks of " << schedule.chunk;
              return base::OkStatus();
            });
        EXPECT_TRUE(status.ok()) << status.message();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Ranks, testing::ValuesIn(Models()), [](const auto& test) { return test.param; });

}  // namespace
}  // namespace fusiontree::engine
