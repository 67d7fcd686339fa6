// FusionTree and Mamba against their oracles in every configuration and type; and what is wrong is found and
// named.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/sample.h"
#include "kernels/table.h"
#include "kernels/variants.h"
#include "verify/mutant.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

std::vector<std::string> Cases() {
  std::vector<std::string> out;
  for (const char* kind : {"fusiontree", "mamba"})
    for (const auto& entry : std::filesystem::directory_iterator(DataFolder(kind)))
      if (entry.is_directory()) out.push_back(std::string(kind) + "/" + entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}
std::string NameOf(const testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}
const kernels::Table* Quick() {
  const kernels::Table* best = kernels::RefTable();
  for (const kernels::Variant& variant : kernels::Variants())
    if (variant.table && std::string(variant.name) == "avx2") best = variant.table;
  return best;
}
void ExpectRight(const std::string& name, const kernels::Table* table, const char* dtype, const char* kv,
                 int64_t chunk) {
  auto setup = LoadSetup(DataFolder(name), {dtype, kv, "auto", 1}, table, nullptr);
  ASSERT_TRUE(setup.ok()) << setup.status().message();
  VerifyOptions options;
  options.sequences = RandomTexts(1, {50, 14}, setup->model().config().vocab_size);
  options.chunk = chunk;
  auto report = VerifySetup(&*setup, options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report, true);
  EXPECT_EQ(report->positions, 64);
  if (std::string(dtype) == "f32" && std::string(kv) == "f32") {
    EXPECT_LT(report->logits_error, 1e-4);
  }
}

class VerifyFusionCase : public testing::TestWithParam<std::string> {};

TEST_P(VerifyFusionCase, EveryOperationIsWithinItsBound) {
  for (const auto& [dtype, kv] :
       {std::pair{"f32", "f32"}, {"auto", "bf16"}, {"auto", "f32"}, {"bf16", "bf16"}})
    ASSERT_NO_FATAL_FAILURE(ExpectRight(GetParam(), Quick(), dtype, kv, 0));
}

INSTANTIATE_TEST_SUITE_P(All, VerifyFusionCase, testing::ValuesIn(base::Sample(Cases(), 3)), NameOf);

TEST(VerifyFusion, EveryVariantAndItsTwin) {
  std::vector<const kernels::Table*> tables = {kernels::RefAvx512Bf16Table(), kernels::RefAmxTable()};
  for (const kernels::Variant& variant : kernels::Variants())
    if (variant.table) tables.push_back(variant.table);
  for (const kernels::Table* table : tables)
    for (const char* name : {"fusiontree/base_bf16", "fusiontree/layer_types", "mamba/biases"})
      ASSERT_NO_FATAL_FAILURE(ExpectRight(name, table, "bf16", "bf16", 0));
}

TEST(VerifyFusion, ChunksAndSteps) {
  for (const int64_t chunk : {1, 5, 17})
    for (const char* name :
         {"fusiontree/serial", "fusiontree/convs_2_1", "fusiontree/srte_learnable", "mamba/defaults"})
      ASSERT_NO_FATAL_FAILURE(ExpectRight(name, Quick(), "f32", "f32", chunk));
}

TEST(VerifyFusion, ADifferentReadingOfTheConfigIsSaid) {
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(
      WriteMutant(DataFolder("fusiontree/window_past_prompt"), folder.path(), Set("window_size", 999), {}));
  VerifyOptions options;  // texts shorter than either window: no operation departs
  options.reference = DataFolder("fusiontree/window_past_prompt");
  auto report = VerifyModel(folder.path().string(), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->FirstDeparture(), nullptr);
  ASSERT_EQ(report->config_differences.size(), 2u);
  EXPECT_EQ(report->config_differences[0], "window of layer 0: the oracle reads 1000, the engine 999");
  EXPECT_FALSE(report->ok());
}

// Other operations than the oracle's: no report can be made, and the reason is in the sentence.
TEST(VerifyFusion, AnotherModelIsSaid) {
  VerifyOptions options;
  options.reference = DataFolder("fusiontree/srte_none");
  auto report = VerifyModel(DataFolder("fusiontree/base"), options);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.status().message().find("srte_encoding: the oracle reads none, the engine sincos"),
            std::string::npos)
      << report.status().message();
  options.reference = DataFolder("mamba/defaults");
  report = VerifyModel(DataFolder("fusiontree/base"), options);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.status().message().find("family: the oracle reads mamba, the engine fusiontree"),
            std::string::npos)
      << report.status().message();
}

TEST(VerifyFusion, AgainstTheGoldenValues) {
  AgainstOptions options;
  options.engine = {"f32", "f32", "auto", 1};
  for (const char* name : {"fusiontree/base", "fusiontree/serial_token_rms_post", "fusiontree/all_mamba",
                           "mamba/biases", "mamba/untied_rank"}) {
    for (const char* file : {"/golden.safetensors", "/golden_more.safetensors"}) {
      auto report = VerifyAgainst(DataFolder(name), DataFolder(name) + file, options);
      ASSERT_TRUE(report.ok()) << report.status().message();
      EXPECT_TRUE(report->ok()) << Table(*report);
      EXPECT_EQ(report->tolerance, 1e-4);
    }
  }
}

TEST(VerifyFusion, Invariance) {
  for (const char* name : {"fusiontree/base_bf16", "fusiontree/layer_types", "mamba/defaults"}) {
    InvarianceOptions options;
    options.isas = {Quick()->name};
    options.dtypes = {"f32"};
    options.kvs = {"bf16"};
    options.ranks = {1, 2};
    options.sequences = RandomTexts(1, {1, 17, 66}, 48);
    auto report = VerifyInvariance(DataFolder(name), options);
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_TRUE(report->ok()) << Table(*report);
    ASSERT_EQ(report->combinations.size(), 1u);
    EXPECT_EQ(report->combinations[0].conditions, 14 + 15);
  }
}

// The file's fp32 vectors and tables are no matrices: auto comes to the same as bf16 and is not run again.
TEST(VerifyFusion, InvarianceKnowsWhichTypesDiffer) {
  InvarianceOptions options;
  options.isas = {"ref"};
  options.sequences = {{1, 2, 3}};
  auto report = VerifyInvariance(DataFolder("fusiontree/base_bf16"), options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report);
  EXPECT_EQ(report->combinations.size(), 4u);
}

}  // namespace
}  // namespace fusiontree::verify
