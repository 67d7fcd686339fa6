// The backward of whole models: against PyTorch's (testdata/fusiontree/*/gradients.*, made by
// tools/make_fusiontree_golden.py), against finite differences of the oracle in double precision, and
// against itself on other numbers of threads.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "base/sample.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_writer.h"
#include "golden.h"
#include "kernels/table.h"
#include "models/trainable.h"
#include "ops/loss.h"
#include "ops/regularise.h"
#include "tensor/dequantise.h"
#include "train/objective.h"
#include "verify/oracle.h"

namespace fusiontree {
namespace {

namespace fs = std::filesystem;
const fs::path kTestdata = FUSIONTREE_TESTDATA;

using Tensors = std::map<std::string, std::vector<float>>;

// Packed documents of one slot.
struct Packed {
  std::vector<std::vector<int32_t>> documents;
  std::vector<int32_t> targets;  // of all rows
  int64_t counted() const {
    return std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
  }
};

Packed Pack(const std::vector<int32_t>& ids, const std::vector<size_t>& starts,
            const std::vector<int>& mask) {
  Packed packed;
  for (size_t d = 0; d < starts.size(); ++d) {
    const size_t end = d + 1 < starts.size() ? starts[d + 1] : ids.size();
    packed.documents.emplace_back(ids.begin() + static_cast<int64_t>(starts[d]),
                                  ids.begin() + static_cast<int64_t>(end));
    for (size_t t = starts[d]; t < end; ++t)
      packed.targets.push_back(t + 1 < end && mask[t + 1] ? ids[t + 1] : -1);
  }
  return packed;
}

class Gradient : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    scratch_ = fs::path(testing::TempDir()) / ("gradient_" + std::to_string(::getpid()));
    fs::create_directories(scratch_);
  }
  void TearDown() override { fs::remove_all(scratch_); }
  fs::path Folder() const { return kTestdata / GetParam(); }

  void Open(const fs::path& folder) {
    auto opened = checkpoint::Checkpoint::Open(folder.string());
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    checkpoint_.emplace(std::move(opened).value());
  }
  void Load(const fs::path& folder, models::ComputeType compute = models::ComputeType::kF32) {
    ASSERT_NO_FATAL_FAILURE(Open(folder));
    models::ModelOptions options;
    options.compute = compute;
    options.trainable = true;
    ops::Context context{&pool_, &table_};
    auto loaded = models::LoadModel(*checkpoint_, options, context);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    model_ = std::move(loaded).value();
  }
  train::Losses Run(const Packed& packed, const train::LossWeights& weights, int threads = 2) {
    base::ThreadPool pool(threads);
    ops::Context context{&pool, &table_};
    cache::BlockPool pages(model_->cache_layout(), size_t{1} << 28);
    std::vector<std::unique_ptr<cache::SequenceState>> sequences;
    train::Slot slot;
    for (const auto& document : packed.documents) {
      sequences.push_back(model_->NewSequence(&pages));
      EXPECT_TRUE(
          slot.batch.Add(sequences.back().get(), document.data(), static_cast<int64_t>(document.size()))
              .ok());
    }
    slot.targets = packed.targets;
    model_->trainable()->ZeroGradients(context);
    auto losses =
        train::Objective(&context, model_.get()).Run(slot, {packed.counted(), slot.batch.rows()}, weights);
    EXPECT_TRUE(losses.ok()) << losses.status().message();
    return losses.ok() ? *losses : train::Losses();
  }
  Tensors ReadGradients() const {
    Tensors gradients;
    const auto& parameters = model_->trainable()->parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      std::vector<float>& g = gradients[parameters[i].name];
      g.assign(static_cast<size_t>(parameters[i].elements()), NAN);
      model_->trainable()->ReadGradient(i, g.data());
    }
    return gradients;
  }
  Tensors ReadWeights() const {
    Tensors weights;
    for (const checkpoint::TensorInfo& info : checkpoint_->tensors()) {
      std::vector<char> bytes(info.bytes);
      EXPECT_TRUE(checkpoint_->Read(info, 0, info.bytes, bytes.data()).ok());
      std::vector<float>& values = weights[info.name];
      values.resize(static_cast<size_t>(info.elements()));
      tensor::ToFloat(info.type, bytes.data(), values.size(), values.data());
    }
    return weights;
  }
  // The same checkpoint with other values, all in fp32.
  fs::path Write(const Tensors& weights) {
    std::vector<checkpoint::TensorSpec> specs;
    for (const checkpoint::TensorInfo& info : checkpoint_->tensors())
      if (weights.count(info.name))
        specs.push_back({info.name, tensor::DType::kF32, {info.shape.begin(), info.shape.end()}});
    auto writer = checkpoint::SafetensorsWriter::Create((scratch_ / "model.safetensors").string(), specs);
    EXPECT_TRUE(writer.ok()) << writer.status().message();
    for (const auto& [name, values] : weights)
      EXPECT_TRUE(writer->Append(name, values.data(), values.size() * sizeof(float)).ok());
    EXPECT_TRUE(writer->Finish().ok());
    fs::copy_file(Folder() / "config.json", scratch_ / "config.json", fs::copy_options::overwrite_existing);
    return scratch_;
  }

  base::ThreadPool pool_{2};
  const kernels::Table& table_ = *kernels::RefTable();
  fs::path scratch_;
  std::optional<checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<models::Model> model_;
};

double Norm(const std::vector<float>& x) {
  double square = 0.0;
  for (const float v : x) square += static_cast<double>(v) * v;
  return std::sqrt(square);
}

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

std::string NameOf(const testing::TestParamInfo<std::string>& of) {
  std::string name = of.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
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

// A document that lost a branch in a layer runs there as the layer plan without it, bit for bit; dropout and
// lost branches have the gradient of what they leave.
class Regularised : public Gradient {
 protected:
  ops::Regularisation Draws(size_t rows, double dropout, double drop_branch) const {
    ops::Regularisation draws;
    draws.seed = 5;
    draws.step = 3;
    draws.dropout = dropout;
    draws.drop_branch = drop_branch;
    for (size_t t = 0; t < rows; ++t) {
      draws.row.push_back(2);
      draws.column.push_back(static_cast<int64_t>(t));
      draws.begin.push_back(0);
    }
    return draws;
  }
  std::vector<float> Hidden(ops::Context& context, const models::Model& model,
                            const std::vector<int32_t>& ids) {
    cache::BlockPool pages(model.cache_layout(), size_t{1} << 28);
    auto sequence = model.NewSequence(&pages);
    cache::Batch batch;
    EXPECT_TRUE(batch.Add(sequence.get(), ids.data(), static_cast<int64_t>(ids.size())).ok());
    std::vector<float> hidden(ids.size() * static_cast<size_t>(model.hidden_stride()));
    std::vector<uint8_t> ok(ids.size());
    model.Forward(context, batch, hidden.data(), ok.data());
    return hidden;
  }
  std::vector<int32_t> Ids(size_t count) const {
    std::vector<int32_t> ids;
    const int32_t vocabulary = static_cast<int32_t>(model_->config().vocab_size);
    for (int32_t i = 0; i < static_cast<int32_t>(count); ++i)
      ids.push_back((i * 13 + i * i + 2) % vocabulary);
    return ids;
  }
};

TEST_P(Regularised, ALostBranchIsThePrunedLayer) {
  ASSERT_NO_FATAL_FAILURE(Load(Folder()));
  const std::vector<int32_t> ids = Ids(21);
  ops::Context context{&pool_, &table_};
  std::set<std::string> plans;
  for (int64_t step = 0; step < 12; ++step) {
    ops::Regularisation draws = Draws(ids.size(), 0.0, 0.7);
    draws.step = step;
    context.set_regularisation(&draws);
    const std::vector<float> dropped = Hidden(context, *model_, ids);
    models::ModelOptions options;
    options.compute = models::ComputeType::kF32;
    for (int layer = 0; layer < model_->config().num_layers; ++layer) {
      const ops::Kept kept = ops::KeptBranches(context, layer)[0];
      options.layer_plan.push_back(kept == ops::Kept::kBoth    ? "hybrid"
                                   : kept == ops::Kept::kMamba ? "mamba"
                                                               : "attention");
    }
    context.set_regularisation(nullptr);
    plans.insert(fmt::format("{}", fmt::join(options.layer_plan, " ")));
    auto pruned = models::LoadModel(*checkpoint_, options, context);
    ASSERT_TRUE(pruned.ok()) << pruned.status().message();
    const std::vector<float> expected = Hidden(context, **pruned, ids);
    EXPECT_EQ(std::memcmp(dropped.data(), expected.data(), dropped.size() * sizeof(float)), 0)
        << *plans.rbegin();
  }
  EXPECT_GT(plans.size(), 3u);
}

TEST_P(Regularised, ItsGradientIsTheSlopeOfWhatWasDrawn) {
  ASSERT_NO_FATAL_FAILURE(Open(Folder()));
  Tensors weights = ReadWeights();
  ASSERT_NO_FATAL_FAILURE(Load(Write(weights)));
  ops::Context context{&pool_, &table_};
  cache::BlockPool pages(model_->cache_layout(), size_t{1} << 28);
  const std::vector<int32_t> ids = Ids(25);
  const auto loss = [&](const Tensors& at) {
    std::vector<const float*> values;
    for (const models::Parameter& parameter : model_->trainable()->parameters())
      values.push_back(at.at(parameter.name).data());
    EXPECT_TRUE(model_->trainable()->Refresh(context, values).ok());
    model_->trainable()->ZeroGradients(context);
    auto sequence = model_->NewSequence(&pages);
    train::Slot slot;
    EXPECT_TRUE(slot.batch.Add(sequence.get(), ids.data(), static_cast<int64_t>(ids.size())).ok());
    for (size_t t = 0; t < ids.size(); ++t) slot.targets.push_back(t + 1 < ids.size() ? ids[t + 1] : -1);
    slot.regularisation = Draws(ids.size(), 0.3, 0.5);
    slot.regularisation.window_size = 3;
    auto losses = train::Objective(&context, model_.get())
                      .Run(slot, {slot.batch.rows() - 1, slot.batch.rows()}, {.polarise = 0.5});
    EXPECT_TRUE(losses.ok()) << losses.status().message();
    return losses.ok() ? losses->total : 0.0;
  };
  loss(weights);
  const Tensors gradients = ReadGradients();
  Tensors up = weights, down = weights;
  double expected = 0.0;
  for (const auto& [name, gradient] : gradients) {
    const double norm = Norm(gradient);
    for (size_t i = 0; i < gradient.size() && norm > 0.0; ++i) {
      const float step = static_cast<float>(2e-4 * gradient[i] / norm);
      up[name][i] += step;
      down[name][i] -= step;
      expected += gradient[i] * (static_cast<double>(up[name][i]) - down[name][i]);
    }
  }
  EXPECT_NEAR(loss(up) - loss(down), expected, 1e-2 * expected);
}

INSTANTIATE_TEST_SUITE_P(Of, Regularised,
                         testing::Values("fusiontree/base", "fusiontree/serial_token_rms_post",
                                         "fusiontree/gate_none", "fusiontree/no_alignment"),
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
