// Comparing with another framework's dump: Transformers' own (testdata/parity) and spoilt ones.
#include <gtest/gtest.h>

#include "checkpoint/safetensors_writer.h"
#include "verify/dump.h"
#include "verify/mutant.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

AgainstOptions Fp32() {
  AgainstOptions options;
  options.engine.dtype = "f32";
  options.engine.kv = "f32";
  options.engine.threads = 1;
  return options;
}

TEST(VerifyAgainst, TransformersFp32IsWithinTheTolerance) {
  for (const char* name : {"qwen2_sliding", "qwen3_bias", "llama3_rope", "mistral_sliding"}) {
    auto report = VerifyAgainst(ParityFolder(name), ParityFolder(name) + "/golden.safetensors", Fp32());
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_TRUE(report->ok()) << Table(*report);
    EXPECT_EQ(report->tolerance, 1e-4);
    EXPECT_EQ(report->positions, 37);
    EXPECT_EQ(report->same_choice, 37);
    EXPECT_GE(report->layers.size(), 4u);
  }
}

TEST(VerifyAgainst, SeveralTexts) {
  auto report = VerifyAgainst(ParityFolder("qwen2_tied"),
                              ParityFolder("qwen2_tied") + "/golden_more.safetensors", Fp32());
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(report->ok()) << Table(*report);
  EXPECT_EQ(report->texts, 2);
  EXPECT_EQ(report->positions, 151);
}

TEST(VerifyAgainst, Bf16IsHeldToAWiderTolerance) {
  AgainstOptions options;
  options.engine.threads = 1;
  auto report = VerifyAgainst(ParityFolder("qwen2_untied"),
                              ParityFolder("qwen2_untied") + "/golden.safetensors", options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_GT(report->layers.back().max_error, 1e-4);
  options.tolerance = 1e-5;
  report = VerifyAgainst(ParityFolder("qwen2_untied"), ParityFolder("qwen2_untied") + "/golden.safetensors",
                         options);
  ASSERT_TRUE(report.ok());
  ASSERT_NE(report->FirstDeparture(), nullptr);
  EXPECT_EQ(report->FirstDeparture()->name, "hidden_1");  // the embedding is exact
}

// The dump is another model's from layer 1 on: the state that enters layer 2 is the first to depart.
TEST(VerifyAgainst, TheFirstLayerThatDepartsIsNamed) {
  TemporaryFolder folder;
  ASSERT_NO_FATAL_FAILURE(WriteMutant(ParityFolder("qwen2_sliding"), folder.path(), nullptr,
                                      {OneStep("model.layers.1.mlp.down_proj.weight", 69)}));
  auto report =
      VerifyAgainst(folder.path().string(), ParityFolder("qwen2_sliding") + "/golden.safetensors", Fp32());
  ASSERT_TRUE(report.ok()) << report.status().message();
  ASSERT_NE(report->FirstDeparture(), nullptr) << Table(*report);
  EXPECT_EQ(report->FirstDeparture()->name, "hidden_2") << Table(*report);
  EXPECT_NE(Table(*report).find("FIRST DEPARTURE: hidden_2 (entering layer 2)"), std::string::npos);
  EXPECT_NE(Json(*report).find("\"first_departure\": \"hidden_2\""), std::string::npos);
}

struct Entry {
  std::string name;
  tensor::DType type;
  std::vector<int64_t> shape;
};

std::string WriteDump(const TemporaryFolder& folder, const std::vector<Entry>& entries) {
  const std::string path = (folder.path() / "dump.safetensors").string();
  std::vector<checkpoint::TensorSpec> specs;
  for (const Entry& entry : entries) specs.push_back({entry.name, entry.type, entry.shape});
  auto writer = checkpoint::SafetensorsWriter::Create(path, specs);
  EXPECT_TRUE(writer.ok());
  for (const Entry& entry : entries) {
    size_t elements = 1;
    for (const int64_t n : entry.shape) elements *= static_cast<size_t>(n);
    const std::vector<uint8_t> zeros(tensor::BytesFor(entry.type, elements));
    EXPECT_TRUE(writer->Append(entry.name, zeros.data(), zeros.size()).ok());
  }
  EXPECT_TRUE(writer->Finish().ok());
  return path;
}

TEST(VerifyAgainst, DumpsOfAnotherShapeAreRefusedByName) {
  using tensor::DType;
  const auto message = [](const std::vector<Entry>& entries) {
    TemporaryFolder folder;
    auto report = VerifyAgainst(ParityFolder("qwen2_tied"), WriteDump(folder, entries), Fp32());
    return report.ok() ? std::string() : report.status().message();
  };
  const Entry ids{"ids", DType::kI64, {3}}, logits{"logits", DType::kF32, {3, 111}};
  EXPECT_EQ(message({ids, logits}), "");
  EXPECT_NE(message({logits}).find("no tensor ids_0"), std::string::npos);
  EXPECT_NE(message({ids}).find("no tensor logits"), std::string::npos);
  EXPECT_NE(message({{"ids", DType::kI32, {3}}, logits}).find("expected I64 [T]"), std::string::npos);
  EXPECT_NE(message({ids, {"logits", DType::kF32, {2, 111}}}).find("a row for each id"), std::string::npos);
  EXPECT_NE(message({ids, {"logits", DType::kF32, {3, 110}}}).find("logits of 110 tokens"),
            std::string::npos);
  EXPECT_NE(message({ids, logits, {"hidden_0", DType::kF32, {3, 112}}}).find("1 hidden states"),
            std::string::npos);
  EXPECT_NE(message({ids, logits, {"other", DType::kF32, {1}}}).find("3 tensors, of which 2"),
            std::string::npos);
}

}  // namespace
}  // namespace fusiontree::verify
