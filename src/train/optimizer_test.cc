// AdamW, its schedule and what it never decays.
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "train/schedule.h"

namespace fusiontree::train {
namespace {

TEST(Layout, OnlyMatricesDecay) {
  const std::vector<models::Parameter> parameters = {{"model.embed_tokens.weight", {40, 16}},
                                                     {"model.layers.0.attn.conv.weight", {16, 1, 4}},
                                                     {"model.layers.0.attn.q_proj.weight", {16, 16}},
                                                     {"model.layers.0.fuse.w1.bias", {16}},
                                                     {"model.layers.0.gate.gd.weight", {1, 3}},
                                                     {"model.layers.0.mamba.A_log", {32, 4}},
                                                     {"model.layers.0.mamba.D", {32}},
                                                     {"model.layers.0.mamba.conv1d.weight", {32, 1, 4}},
                                                     {"model.layers.0.mamba.dt_proj.bias", {32}},
                                                     {"model.layers.0.norm_in.weight", {16}},
                                                     {"model.srte.basis", {16, 3}},
                                                     {"model.srte.factor", {60, 3}}};
  const Layout layout(parameters);
  for (size_t i = 0; i < layout.count(); ++i) {
    const std::string& name = layout.name(i);
    const bool matrix = name.find("q_proj") != std::string::npos || name.find("gate.gd") != std::string::npos;
    EXPECT_EQ(layout.decays(i), matrix) << name;
    EXPECT_EQ(layout.ParameterAt(layout.offset(i)), i);
    EXPECT_EQ(layout.ParameterAt(layout.offset(i + 1) - 1), i);
  }
}

TEST(AdamW, TakesThePublishedStep) {
  AdamStep step;
  step.settings = {0.0, 0.9, 0.99, 1e-8, 0.1, 0.0};
  step.scale = 0.5f;
  double w = 2.0, m = 0.0, v = 0.0;
  float weight = 2.0f, first = 0.0f, second = 0.0f;
  for (int64_t t = 1; t <= 5; ++t) {
    step.step = t;
    step.rate = 0.01 * static_cast<double>(t);
    const float gradient = 3.0f - static_cast<float>(t);
    RunAdam(step, true, &gradient, &weight, &first, &second, 1);
    const double g = 0.5 * gradient;
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    const double n = static_cast<double>(t);
    w -= step.rate * (m / (1 - std::pow(0.9, n)) / (std::sqrt(v / (1 - std::pow(0.99, n))) + 1e-8) + 0.1 * w);
    EXPECT_NEAR(weight, w, 1e-6 * t);
  }
  const float before = weight, gradient = 0.0f;
  float zero = 0.0f, none = 0.0f;
  RunAdam(step, false, &gradient, &weight, &zero, &none, 1);
  EXPECT_EQ(weight, before);
}

TEST(LearningRate, FollowsItsShape) {
  const LearningRate cosine{Shape::kCosine, 100, 0, 1100, 0.1};
  EXPECT_DOUBLE_EQ(cosine.Factor(25), 0.25);
  EXPECT_DOUBLE_EQ(cosine.Factor(100), 1.0);
  EXPECT_NEAR(cosine.Factor(600), 0.55, 1e-12);
  EXPECT_NEAR(cosine.Factor(1100), 0.1, 1e-12);
  const LearningRate wsd{Shape::kWsd, 100, 200, 1000, 0.0};
  EXPECT_DOUBLE_EQ(wsd.Factor(799), 1.0);
  EXPECT_DOUBLE_EQ(wsd.Factor(900), 0.5);
  EXPECT_DOUBLE_EQ(wsd.Factor(1000), 0.0);
  EXPECT_DOUBLE_EQ((LearningRate{Shape::kConstant, 10, 0, 100, 0.5}.Factor(99)), 1.0);
  const Schedule schedule{{{100.0, 1.0}, {200.0, 0.0}}};
  EXPECT_DOUBLE_EQ(schedule.At(0), 1.0);
  EXPECT_DOUBLE_EQ(schedule.At(150), 0.5);
  EXPECT_DOUBLE_EQ(schedule.At(1000), 0.0);
}

}  // namespace
}  // namespace fusiontree::train
