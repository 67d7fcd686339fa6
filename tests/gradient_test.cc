// The backward of whole models: against PyTorch's (testdata/fusiontree/*/gradients.*, made by
// tools/make_fusiontree_golden.py), against finite differences of the oracle in double precision, and
// against itself on other numbers of threads.
#include <gtest/gtest.h>

#include "base/sample.h"
#include "golden.h"
#include "gradient_fixture.h"
#include "ops/loss.h"
#include "verify/oracle.h"

namespace fusiontree {
namespace {

class TorchGradient : public Gradient {};

TEST_P(TorchGradient, IsTheSameTensorByTensor) {
  ASSERT_NO_FATAL_FAILURE(Load(Folder()));
  std::ifstream in(Folder() / "gradients.json");
  const nlohmann::json facts = nlohmann::json::parse(in);
  const Packed packed = Pack(facts["ids"], facts["document_starts"], facts["target_mask"]);
  ASSERT_EQ(packed.counted(), facts["targets"].get<int64_t>());
  train::LossWeights weights;
  weights.balance = facts["lambdas"]["balance"];
  weights.entropy = facts["lambdas"]["entropy"];
  weights.polarise = facts["lambdas"]["polarise"];
  const train::Losses losses = Run(packed, weights);
  const nlohmann::json& expected = facts["losses"];
  EXPECT_NEAR(losses.lm, expected["lm"], 1e-4);
  EXPECT_NEAR(losses.balance, expected["balance"], 1e-5);
  EXPECT_NEAR(losses.entropy, expected["entropy"], 1e-5);
  EXPECT_NEAR(losses.polarise, expected["polarise"], 1e-5);
  EXPECT_NEAR(losses.total, facts["total"], 1e-4);

  const Golden golden(Folder() / "gradients.safetensors");
  size_t compared = 0;
  for (const auto& [name, ours] : ReadGradients()) {
    ASSERT_TRUE(golden.Has(name)) << name;
    const std::vector<float> theirs = golden.Get<float>(name);
    ASSERT_EQ(ours.size(), theirs.size()) << name;
    std::vector<float> difference(ours.size());
    for (size_t i = 0; i < ours.size(); ++i) difference[i] = ours[i] - theirs[i];
    EXPECT_LE(Norm(difference), 1e-3 * Norm(theirs)) << name;
    ++compared;
  }
  EXPECT_EQ(compared, golden.Names().size());

  weights.per_channel = true;
  EXPECT_NEAR(Run(packed, weights).balance, expected["balance_per_channel"], 1e-5);
}

INSTANTIATE_TEST_SUITE_P(All, TorchGradient,
                         testing::Values("fusiontree/base", "fusiontree/serial_token_rms_post",
                                         "fusiontree/srte_factorized_per_layer_ssm_norm",
                                         "fusiontree/layer_types"),
                         NameOf);

// Central differences of the oracle's loss along one direction a tensor.
class OracleGradient : public Gradient {
 protected:
  double Loss(const Tensors& weights, const Packed& packed, const train::LossWeights& w) {
    auto opened = checkpoint::Checkpoint::Open(Write(weights).string());
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    auto oracle = verify::Oracle::Open(&*opened, 1);
    EXPECT_TRUE(oracle.ok()) << oracle.status().message();
    double lm = 0.0, gates = 0.0, gated = 0.0;
    const auto sink = [&](const verify::OracleStep& step) {
      const verify::Rows& x = step.truth;
      if (step.op == "gate") {
        double mean = 0.0, entropy = 0.0, polarise = 0.0;
        for (const double g : x.values) {
          mean += g;
          entropy += g * std::log(g) + (1.0 - g) * std::log(1.0 - g);
          polarise += g * (1.0 - g);
        }
        const double n = static_cast<double>(x.values.size()), low = w.gate_target - w.gate_margin,
                     high = w.gate_target + w.gate_margin;
        gates += w.balance * (std::max(0.0, low - mean / n) + std::max(0.0, mean / n - high)) +
                 w.entropy * entropy / n + w.polarise * polarise / n;
        gated += 1.0;
      }
      if (step.op != "logits") return base::OkStatus();
      for (int64_t t = 0; t < x.rows; ++t) {
        const int32_t target = packed.targets[static_cast<size_t>(t)];
        if (target < 0) continue;
        const double* row = x.row(t);
        double sum = 0.0;
        for (int64_t i = 0; i < x.columns; ++i) sum += std::exp(row[i] - row[target]);
        lm += std::log(sum) / static_cast<double>(packed.counted());
      }
      return base::OkStatus();
    };
    const base::Status status = (*oracle)->Walk(packed.documents, nullptr, {}, sink);
    EXPECT_TRUE(status.ok()) << status.message();
    return lm + (gated > 0.0 ? gates / gated : 0.0);
  }
};

TEST_P(OracleGradient, IsTheSlopeOfTheLossAlongEachTensor) {
  ASSERT_NO_FATAL_FAILURE(Open(Folder()));
  Tensors original = ReadWeights();
  ASSERT_NO_FATAL_FAILURE(Load(Write(original)));
  // What only repeats the embedding, or is known and not read, has no gradient.
  std::set<std::string> trained;
  for (const models::Parameter& parameter : model_->trainable()->parameters()) trained.insert(parameter.name);
  std::erase_if(original, [&](const auto& entry) {
    const std::string& name = entry.first;
    const bool leftover = !trained.count(name);
    EXPECT_TRUE(!leftover || name == "lm_head.weight" || name.find("inv_freq") != std::string::npos) << name;
    return leftover;
  });
  const int32_t vocabulary = static_cast<int32_t>(model_->config().vocab_size);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 23; ++i) ids.push_back((i * 17 + i * i * 3 + 5) % vocabulary);
  std::vector<int> mask(ids.size(), 1);
  mask[3] = mask[15] = 0;
  const Packed packed = Pack(ids, {0, 14, 15}, mask);
  train::LossWeights w;
  w.balance = 0.3;
  w.entropy = 0.2;
  w.polarise = 0.1;
  Run(packed, w);
  const Tensors gradients = ReadGradients();
  EXPECT_EQ(gradients.size(), original.size());
  for (const auto& [name, gradient] : gradients) {
    // A direction in which the loss surely changes, but not the gradient's own.
    const std::vector<float>& at = original.at(name);
    const double size = std::max(Norm(at) / std::sqrt(static_cast<double>(at.size())), 1e-2),
                 steepest = Norm(gradient) / std::sqrt(static_cast<double>(at.size()));
    Tensors up = original, down = original;
    double expected = 0.0, scale = 0.0;
    for (size_t i = 0; i < at.size(); ++i) {
      const double wave = std::sin(static_cast<double>(i * 7 + name.size())),
                   own = steepest > 0.0 ? gradient[i] / steepest : 0.0;
      const float step = static_cast<float>(3e-6 * size * (0.7 * wave + own));
      float& high = up.at(name)[i] = at[i] + step;
      float& low = down.at(name)[i] = at[i] - step;
      const double moved = static_cast<double>(high) - static_cast<double>(low);
      expected += gradient[i] * moved;
      scale += std::fabs(gradient[i] * moved);
    }
    const double slope = Loss(up, packed, w) - Loss(down, packed, w);
    EXPECT_GT(scale, 0.0) << name << " has no gradient";
    EXPECT_NEAR(slope, expected, 2e-3 * scale) << name;
  }
}

std::vector<std::string> Configurations() {
  std::vector<std::string> names;
  for (const char* family : {"fusiontree", "mamba", "parity"})
    for (const auto& entry : fs::directory_iterator(kTestdata / family))
      if (entry.is_directory()) names.push_back(std::string(family) + "/" + entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return base::Sample(names, 6);
}
INSTANTIATE_TEST_SUITE_P(All, OracleGradient, testing::ValuesIn(Configurations()), NameOf);

// The bits of gradients on any number of threads, in both types.
class Threads : public Gradient {};

TEST_P(Threads, NeverChangeAGradient) {
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    ASSERT_NO_FATAL_FAILURE(Open(Folder()));
    ASSERT_NO_FATAL_FAILURE(Load(Write(ReadWeights()), compute));
    const int32_t vocabulary = static_cast<int32_t>(model_->config().vocab_size);
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 200; ++i) ids.push_back((i * 29 + i * i * 5 + 1) % vocabulary);
    const Packed packed = Pack(ids, {0, 58, 59, 100, 150}, std::vector<int>(ids.size(), 1));
    train::LossWeights w;
    w.balance = w.entropy = w.polarise = 0.1;
    const train::Losses one = Run(packed, w, 1);
    const Tensors gradients = ReadGradients();
    for (const int threads : {2, 3}) {
      const train::Losses many = Run(packed, w, threads);
      EXPECT_EQ(std::memcmp(&one, &many, sizeof(one)), 0) << threads << " threads";
      for (const auto& [name, g] : ReadGradients())
        EXPECT_EQ(std::memcmp(g.data(), gradients.at(name).data(), g.size() * sizeof(float)), 0)
            << name << " on " << threads << " threads";
    }
  }
}

// New values in the old places are what loading them from a file would be.
TEST_P(Threads, OfARefreshNeitherNorItsBits) {
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    ASSERT_NO_FATAL_FAILURE(Open(Folder()));
    Tensors weights = ReadWeights();
    for (auto& [name, values] : weights)
      for (size_t i = 0; i < values.size(); ++i)
        values[i] += 0.01f * std::sin(static_cast<float>(i + name.size()));
    ASSERT_NO_FATAL_FAILURE(Load(Write(ReadWeights()), compute));
    std::vector<const float*> values;
    for (const models::Parameter& parameter : model_->trainable()->parameters())
      values.push_back(weights.at(parameter.name).data());
    ops::Context context{&pool_, &table_};
    ASSERT_TRUE(model_->trainable()->Refresh(context, values).ok());
    const int32_t vocabulary = static_cast<int32_t>(model_->config().vocab_size);
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 40; ++i) ids.push_back((i * 29 + i * i * 5 + 1) % vocabulary);
    const Packed packed = Pack(ids, {0, 17}, std::vector<int>(ids.size(), 1));
    const train::Losses refreshed = Run(packed, {});
    const Tensors gradients = ReadGradients();
    ASSERT_NO_FATAL_FAILURE(Load(Write(weights), compute));
    const train::Losses loaded = Run(packed, {});
    EXPECT_EQ(std::memcmp(&refreshed, &loaded, sizeof(loaded)), 0);
    for (const auto& [name, g] : ReadGradients())
      EXPECT_EQ(std::memcmp(g.data(), gradients.at(name).data(), g.size() * sizeof(float)), 0) << name;

    const std::string first = model_->trainable()->parameters()[0].name;
    weights.at(first)[1] = INFINITY;
    values[0] = weights.at(first).data();
    const base::Status refused = model_->trainable()->Refresh(context, values);
    EXPECT_NE(refused.message().find(first), std::string::npos) << refused.message();
  }
}

INSTANTIATE_TEST_SUITE_P(All, Threads,
                         testing::Values("fusiontree/base", "fusiontree/odd_sizes",
                                         "fusiontree/srte_factorized_per_layer_ssm_norm",
                                         "fusiontree/layer_types_serial", "parity/qwen2_tied"),
                         NameOf);

TEST(Distillation, IsTorchs) {
  const fs::path folder = kTestdata / "fusiontree/base";
  std::ifstream in(folder / "gradients.json");
  const nlohmann::json facts = nlohmann::json::parse(in);
  const Golden golden(folder / "distill.safetensors");
  const std::vector<float> student = golden.Get<float>("student_logits"),
                           teacher = golden.Get<float>("teacher_logits"),
                           expected = golden.Get<float>("student_gradient");
  const Packed packed = Pack(facts["ids"], facts["document_starts"], facts["target_mask"]);
  const int64_t rows = static_cast<int64_t>(packed.targets.size()),
                vocabulary = static_cast<int64_t>(student.size()) / rows;
  base::ThreadPool pool(2);
  ops::Context context{&pool, kernels::RefTable()};
  double total = 0.0;
  std::vector<float> gradient(student.size(), 0.0f);
  for (int64_t t = 0; t < rows; ++t) {
    if (packed.targets[static_cast<size_t>(t)] < 0) continue;
    double loss = 0.0;
    uint8_t ok = 1;
    ops::Distill(context, {student.data() + t * vocabulary, vocabulary, 1, vocabulary},
                 {teacher.data() + t * vocabulary, vocabulary, 1, vocabulary},
                 facts["distill"]["temperature"], 1.0f / static_cast<float>(packed.counted()), &loss,
                 gradient.data() + t * vocabulary, &ok);
    EXPECT_EQ(ok, 1);
    total += loss / static_cast<double>(packed.counted());
  }
  EXPECT_NEAR(total, facts["distill"]["loss"], 1e-5);
  for (size_t i = 0; i < gradient.size(); ++i) gradient[i] -= expected[i];
  EXPECT_LE(Norm(gradient), 1e-3 * Norm(expected));
}

}  // namespace
}  // namespace fusiontree
