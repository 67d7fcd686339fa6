// Other ways to a gradient: lost branches and dropout, layers computed again, rows that continue a text.
#include <fmt/ranges.h>

#include <set>

#include "gradient_fixture.h"
#include "ops/regularise.h"

namespace fusiontree {
namespace {

ops::Regularisation Draws(size_t rows, double dropout, double drop_branch) {
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

// A document that lost a branch in a layer runs there as the layer plan without it, bit for bit; dropout and
// lost branches have the gradient of what they leave.
class Regularised : public Gradient {
 protected:
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

// A layer that is computed again in the backward, or whose cheap arrays are, has the losses and gradients of
// one that was kept, bit for bit, whatever is drawn and wherever its states come from.
class Recomputed : public Gradient {
 protected:
  Packed Documents(int32_t shift) const {
    const int32_t vocabulary = static_cast<int32_t>(model_->config().vocab_size);
    std::vector<int32_t> ids;
    for (int32_t i = shift; i < shift + 70; ++i) ids.push_back((i * 29 + i * i * 5 + 1) % vocabulary);
    return Pack(ids, {0, 50, 51}, std::vector<int>(ids.size(), 1));
  }
};

TEST_P(Recomputed, LayersChangeNoBit) {
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    ASSERT_NO_FATAL_FAILURE(Open(Folder()));
    ASSERT_NO_FATAL_FAILURE(Load(Write(ReadWeights()), compute));
    train::LossWeights w;
    w.balance = w.entropy = w.polarise = 0.1;
    w.monitor = true;
    for (const bool draws : {false, true}) {
      if (draws && GetParam().rfind("fusiontree", 0) != 0) continue;
      for (const bool recompute : {false, true}) {
        Way kept, again;
        again.recompute = recompute;
        again.drop_from = 0;
        if (draws) kept.draws = again.draws = Draws(70, 0.2, 0.4);
        for (int64_t row = 0; row < 2; ++row) {  // the second goes on from the first
          const train::Losses losses = Run(Documents(static_cast<int32_t>(row) * 70), w, &kept);
          const Tensors gradients = ReadGradients();
          const train::Losses same = Run(Documents(static_cast<int32_t>(row) * 70), w, &again);
          EXPECT_EQ(std::memcmp(&losses, &same, sizeof(losses)), 0) << losses.total << " " << same.total;
          for (const auto& [name, g] : ReadGradients())
            EXPECT_EQ(std::memcmp(g.data(), gradients.at(name).data(), g.size() * sizeof(float)), 0) << name;
          EXPECT_EQ(kept.states, again.states);
          kept.origin = again.origin = 7;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Recomputed,
                         testing::Values("fusiontree/base", "fusiontree/odd_sizes", "fusiontree/gate_none",
                                         "fusiontree/srte_factorized_per_layer_ssm_norm",
                                         "fusiontree/srte_learnable", "fusiontree/layer_types_serial",
                                         "fusiontree/serial_token_rms_post", "parity/qwen2_tied",
                                         "mamba/biases"),
                         NameOf);

// A row that continues a text starts from the states that the row before has left, at the position where that
// ended; attention sees nothing of it. So a model whose attention sees only the present token (window 1)
// scores the text as if it had come in one row.
using Continued = Gradient;

TEST_P(Continued, RowsGoOnWithTheText) {
  ASSERT_NO_FATAL_FAILURE(Load(Folder()));
  const int32_t vocabulary = static_cast<int32_t>(model_->config().vocab_size);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 120; ++i) ids.push_back((i * 29 + i * i * 5 + 1) % vocabulary);
  const auto row = [&](size_t begin, size_t end) {
    Packed packed;
    packed.documents.emplace_back(ids.begin() + static_cast<int64_t>(begin),
                                  ids.begin() + static_cast<int64_t>(end));
    for (size_t t = begin; t < end; ++t)
      packed.targets.push_back(t >= 61 && t + 1 < ids.size() ? ids[t + 1] : -1);
    if (end <= 61) packed.targets.back() = 1;
    return packed;
  };
  Way whole, first, second;
  for (Way* way : {&whole, &first, &second}) way->draws.window_size = 1;
  const auto draws = [&](Way* way, size_t rows) {
    way->draws = Draws(rows, 0.0, 0.0);
    way->draws.window_size = 1;
  };
  draws(&whole, 120);
  draws(&first, 61);
  draws(&second, 59);
  const double expected = Run(row(0, 120), {}, &whole).lm;
  Run(row(0, 61), {}, &first);
  second.states = first.states;
  second.origin = 61;
  EXPECT_EQ(Run(row(61, 120), {}, &second).lm, expected);
  EXPECT_EQ(second.states, whole.states);

  draws(&second, 59);
  second.states = first.states;
  second.origin = 60;  // one position off
  EXPECT_NE(Run(row(61, 120), {}, &second).lm, expected);
  second.states.assign(1, std::vector<std::byte>(first.states[0].size()));
  second.origin = 61;  // no memory
  EXPECT_NE(Run(row(61, 120), {}, &second).lm, expected);
}

INSTANTIATE_TEST_SUITE_P(Of, Continued,
                         testing::Values("fusiontree/no_global_heads", "fusiontree/window_past_prompt",
                                         "fusiontree/all_mamba"),
                         NameOf);

}  // namespace
}  // namespace fusiontree
