// Every family and option against what Transformers computed in fp32 (testdata/parity, made by
// tools/make_parity_golden.py): logits, hidden states of each layer, greedy continuations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "checkpoint/checkpoint.h"
#include "engine/forced_run.h"
#include "golden.h"
#include "kernels/table.h"
#include "models/model.h"

namespace fusiontree {
namespace {

namespace fs = std::filesystem;
const fs::path kTestdata = FUSIONTREE_TESTDATA;
const fs::path kParity = kTestdata / "parity";

const fs::path kGguf = fs::path(FUSIONTREE_TESTDATA) / "gguf";

std::vector<std::string> Names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() || entry.path().extension() == ".gguf") names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

double Deviation(const std::vector<float>& values) {
  double mean = 0, square = 0;
  for (float v : values) mean += v;
  mean /= static_cast<double>(values.size());
  for (float v : values) square += (v - mean) * (v - mean);
  return std::sqrt(square / static_cast<double>(values.size()));
}

double MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

struct HiddenStates : ops::Probe {
  explicit HiddenStates(const models::Model& model)
      : layers(model.config().num_layers), layer_output(model.layer_output()) {}
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override {
    int64_t k = -1;
    if (op == "embed") k = 0;
    if (op == layer_output && layer + 1 < layers) k = layer + 1;
    if (op == "final_norm") k = layers;
    if (k < 0) return;
    for (int64_t r = 0; r < rows; ++r)
      states[k].insert(states[k].end(), value + r * stride, value + r * stride + columns);
  }
  int64_t layers;
  std::string_view layer_output;
  std::map<int64_t, std::vector<float>> states;
};

class Parity : public testing::TestWithParam<std::string> {
 protected:
  // "qwen3": a folder of testdata/parity; "mamba/biases": one of another folder.
  fs::path Folder() const {
    const std::string& name = GetParam();
    return name.find('/') == std::string::npos ? kParity / name : kTestdata / name;
  }
  void Load(models::ComputeType compute) { Load(compute, Folder()); }
  void Load(models::ComputeType compute, const fs::path& path) {
    auto opened = checkpoint::Checkpoint::Open(path.string());
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    checkpoint_.emplace(std::move(opened).value());
    models::ModelOptions options;
    options.compute = compute;
    auto loaded = models::LoadModel(*checkpoint_, options, context_);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    model_ = std::move(loaded).value();
  }
  std::vector<float> Logits(const std::vector<int32_t>& ids, int64_t chunk) {
    std::vector<float> all;
    engine::ForcedOptions options;
    options.chunk = chunk;
    const int64_t vocab = model_->config().vocab_size;
    const base::Status status =
        engine::ForcedRun(context_, *model_, {ids}, options, [&](int64_t, int64_t, const float* row) {
          all.insert(all.end(), row, row + vocab);
          return base::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status.message();
    return all;
  }
  nlohmann::json Facts() {
    std::ifstream in(Folder() / "golden.json");
    return nlohmann::json::parse(in);
  }

  base::ThreadPool pool_{2};
  ops::Context context_{&pool_, kernels::RefTable()};
  std::optional<checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<models::Model> model_;
};

TEST_P(Parity, LogitsAndHiddenStatesInF32) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32));
  const Golden golden(Folder() / "golden.safetensors"), more(Folder() / "golden_more.safetensors");
  const std::vector<float> expected = golden.Get<float>("logits");
  HiddenStates hidden(*model_);
  context_.set_probe(&hidden);
  const std::vector<float> logits = Logits(golden.Ids("ids"), 512);
  context_.set_probe(nullptr);
  EXPECT_LE(MaxDifference(logits, expected), 1e-4 * Deviation(expected));
  for (int64_t k = 0; k <= model_->config().num_layers; ++k) {
    const std::vector<float> state = golden.Get<float>("hidden_" + std::to_string(k));
    EXPECT_LE(MaxDifference(hidden.states[k], state), 1e-4 * Deviation(state)) << "hidden_" << k;
  }
  for (const char* i : {"0", "1"}) {
    const std::vector<float> truth = more.Get<float>(std::string("logits_") + i);
    EXPECT_LE(MaxDifference(Logits(more.Ids(std::string("ids_") + i), 64), truth), 1e-4 * Deviation(truth))
        << i;
  }
}

TEST_P(Parity, GreedyContinuations) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32));
  const nlohmann::json facts = Facts();
  ASSERT_EQ(facts["prompts"].size(), 3u);
  for (const auto& prompt : facts["prompts"]) {
    std::vector<int32_t> ids = prompt["ids"];
    const std::vector<int32_t> greedy = prompt["greedy"];
    const size_t first = ids.size();
    ids.insert(ids.end(), greedy.begin(), greedy.end());
    const std::vector<float> logits = Logits(ids, 16);
    const int64_t vocab = model_->config().vocab_size;
    for (size_t i = 0; i < greedy.size(); ++i) {
      const float* row = logits.data() + static_cast<int64_t>(first + i - 1) * vocab;
      EXPECT_EQ(std::max_element(row, row + vocab) - row, greedy[i]) << "step " << i;
    }
  }
}

TEST_P(Parity, ErrorInFileTypeIsNoLargerThanThatOfTransformers) {
  const nlohmann::json facts = Facts();
  if (!facts["prompts"][0].contains("transformers_bf16_error")) GTEST_SKIP() << "not a pure bf16 file";
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kAuto));
  const Golden golden(Folder() / "golden.safetensors"), more(Folder() / "golden_more.safetensors");
  double ours = 0, theirs = 0;
  size_t count = 0;
  for (const auto& prompt : facts["prompts"]) {
    const std::vector<int32_t> ids = prompt["ids"];
    ASSERT_FALSE(ids.empty());
    const bool in_first = golden.Ids("ids") == ids;
    const std::vector<float> truth =
        in_first ? golden.Get<float>("logits")
                 : more.Get<float>(more.Ids("ids_0") == ids ? "logits_0" : "logits_1");
    const std::vector<float> logits = Logits(ids, 512);
    for (size_t i = 0; i < truth.size(); ++i) ours += std::pow(static_cast<double>(logits[i]) - truth[i], 2);
    const double rms = prompt["transformers_bf16_error"]["rms"];
    theirs += rms * rms * static_cast<double>(truth.size());
    count += truth.size();
  }
  EXPECT_LE(std::sqrt(ours / static_cast<double>(count)), std::sqrt(theirs / static_cast<double>(count)));
}

std::vector<std::string> NamesUnder(const std::string& folder) {
  std::vector<std::string> names;
  for (const std::string& name : Names(kTestdata / folder)) names.push_back(folder + "/" + name);
  return names;
}

std::string CaseName(const testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, Parity, testing::ValuesIn(Names(kParity)), CaseName);
INSTANTIATE_TEST_SUITE_P(FusionTree, Parity, testing::ValuesIn(NamesUnder("fusiontree")), CaseName);
INSTANTIATE_TEST_SUITE_P(Mamba, Parity, testing::ValuesIn(NamesUnder("mamba")), CaseName);

// The same weights in a GGUF file (tools/hf_to_gguf.py): row order of llama files, biases, windows, scalings.
class GgufParity : public Parity {};

TEST_P(GgufParity, SameLogitsAsTheFolder) {
  const Golden golden(Folder() / "golden.safetensors");
  const std::vector<int32_t> ids = golden.Ids("ids");
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32));
  const std::vector<float> folder = Logits(ids, 512);
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32, kGguf / (GetParam() + ".gguf")));
  const std::vector<float> file = Logits(ids, 512);
  ASSERT_EQ(file.size(), folder.size());
  if (GetParam() == "llama3_rope") {  // a GGUF file holds the scaling as rounded divisors of the frequencies
    const std::vector<float> expected = golden.Get<float>("logits");
    EXPECT_LE(MaxDifference(file, expected), 1e-4 * Deviation(expected));
  } else {
    EXPECT_EQ(std::memcmp(file.data(), folder.data(), file.size() * sizeof(float)), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufParity, testing::ValuesIn(Names(kGguf)), CaseName);

}  // namespace
}  // namespace fusiontree
