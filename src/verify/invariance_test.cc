// The matrix finds no difference in the engine, and does find those that are put there.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/table.h"
#include "verify/mutant.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

TEST(VerifyInvariance, EveryVariantAndTypeOfATinyModel) {
  InvarianceOptions options;
  options.sequences = RandomTexts(1, {1, 17, 66}, 97);
  double last = 0;
  options.progress = [&](double fraction, const std::string&) {
    EXPECT_GE(fraction, last);
    last = fraction;
  };
  auto report = VerifyInvariance(ParityFolder("qwen2_sliding"), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report);
  EXPECT_NEAR(last, 1.0, 1e-9);
  EXPECT_EQ(report->positions, 1 + 17 + 66);
  EXPECT_GE(report->combinations.size(), 4u);
  for (const InvarianceCombination& combination : report->combinations) {
    EXPECT_EQ(combination.conditions, 14);
    EXPECT_EQ(combination.comparisons, 14 * report->positions);
  }
}

TEST(VerifyInvariance, EveryDegreeOfAModelOfSixSlices) {
  InvarianceOptions options;
  options.isas = {"ref"};
  options.dtypes = {"f32"};
  options.kvs = {"f32"};
  options.ranks = {1, 2, 6};
  options.sequences = RandomTexts(1, {1, 40}, 97);
  auto report = VerifyInvariance(ParityFolder("llama_bias"), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report);
  ASSERT_EQ(report->combinations.size(), 1u);
  EXPECT_EQ(report->combinations[0].conditions, 14 + 2 * 15);
  options.ranks = {1, 3};
  options.progress = [](double, const std::string&) { ADD_FAILURE() << "work before the refusal"; };
  report = VerifyInvariance(ParityFolder("llama_bias"), options);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.status().message().find("over 3 ranks, but over 1, 2, 6"), std::string::npos);
}

TEST(VerifyInvariance, MixedFilesHaveATypeOfTheirOwn) {
  InvarianceOptions options;
  options.isas = {"ref"};
  options.sequences = {{1, 2, 3, 4, 5}};
  auto report = VerifyInvariance(ParityFolder("qwen2_mixed"), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report);
  EXPECT_EQ(report->combinations.size(), 6u);  // auto, bf16, f32 with either cache
}

TEST(VerifyInvariance, FullRunsEveryCondition) {
  InvarianceOptions options;
  options.isas = {"ref"};
  options.dtypes = {"f32"};
  options.kvs = {"f32"};
  options.full = true;
  options.sequences = RandomTexts(1, {1, 7, 66}, 97);
  auto report = VerifyInvariance(ParityFolder("llama_linear_rope"), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report);
  ASSERT_EQ(report->combinations.size(), 1u);
  EXPECT_EQ(report->combinations[0].conditions, 44);
  EXPECT_EQ(report->combinations[0].comparisons, 44 * (1 + 7 + 66));
  const nlohmann::json json = nlohmann::json::parse(Json(*report));
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["combinations"][0]["differing_bits"], 0);
}

// A faulty table must be seen; returns what is said first.
std::string FirstDifference(void (*spoil)(kernels::Table*)) {
  static kernels::Table table;  // borrowed by the setup
  table = *kernels::RefTable();
  spoil(&table);
  auto setup = LoadSetup(ParityFolder("qwen2_untied"), {"f32", "f32", "auto", 1}, &table, nullptr);
  EXPECT_TRUE(setup.ok());
  auto out = InvarianceOfSetup(*setup, RandomTexts(1, {1, 17, 66}, 130), false, nullptr);
  EXPECT_TRUE(out.ok());
  EXPECT_GT(out->differing_rows, 0);
  EXPECT_GT(out->differing_bits, 0);
  EXPECT_LE(out->differing_rows, out->comparisons);
  return out->first_difference;
}

// One bit in the last place of row 3 of a forward: a kernel whose tail of rows is computed differently.
TEST(VerifyInvariance, APlaceInTheBatchThatMattersIsFound) {
  const std::string said = FirstDifference([](kernels::Table* table) {
    table->matrix[kernels::kBf16F32].matmul = [](const kernels::MatmulArgs* args) {
      kernels::RefTable()->matrix[kernels::kBf16F32].matmul(args);
      if (args->group_begin <= 3 && 3 < std::min(args->group_end, args->m) && args->panel_begin == 0)
        reinterpret_cast<uint32_t*>(args->out)[3 * args->out_stride] ^= 1;
    };
  });
  EXPECT_NE(said.find("with others"), std::string::npos) << said;
}

// A product that is summed otherwise when there is only one row.
TEST(VerifyInvariance, ASpecialPathForOneTokenIsFound) {
  const std::string said = FirstDifference([](kernels::Table* table) {
    table->matrix[kernels::kBf16F32].matmul = [](const kernels::MatmulArgs* args) {
      kernels::RefTable()->matrix[kernels::kBf16F32].matmul(args);
      if (args->m == 1 && args->panel_begin == 0) reinterpret_cast<uint32_t*>(args->out)[0] ^= 1;
    };
  });
  EXPECT_NE(said.find("1 token"), std::string::npos) << said;  // the lone token, as soon as it has company
}

TEST(VerifyInvariance, NothingComparedIsNotSuccess) { EXPECT_FALSE(InvarianceReport().ok()); }

TEST(VerifyInvariance, BadOptionsAreSentences) {
  InvarianceOptions options;
  options.isas = {"mmx"};
  EXPECT_FALSE(VerifyInvariance(ParityFolder("qwen2_tied"), options).ok());
  options = {};
  options.sequences = {{}};
  EXPECT_FALSE(VerifyInvariance(ParityFolder("qwen2_tied"), options).ok());
  EXPECT_FALSE(VerifyInvariance("/nowhere", {}).ok());
}

}  // namespace
}  // namespace fusiontree::verify
