// A real model: the greedy texts of SmolLM2-135M-Instruct equal those of llama.cpp run with the same weights
// dequantised to fp32 (testdata/parity/smollm2_greedy.json, made by tools/make_smollm2_golden.py).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "engine/api.h"
#include "tokenizer/tokenizer.h"

namespace fusiontree {
namespace {

const std::string kModel = FUSIONTREE_SOURCE "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

TEST(SmolLM2, GreedyTextsEqualLlamaCpp) {
  if (!std::filesystem::exists(kModel)) GTEST_SKIP() << "setup.sh could not fetch the model";
  std::ifstream in(FUSIONTREE_TESTDATA "/parity/smollm2_greedy.json");
  const nlohmann::json golden = nlohmann::json::parse(in);
  const nlohmann::json& prompts = golden["cases"];
  ASSERT_EQ(prompts.size(), 10u);

  auto checkpoint = checkpoint::Checkpoint::Open(kModel);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  auto tokenizer = tokenizer::Tokenizer::Load(checkpoint.value());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  engine::EngineOptions options;
  options.dtype = "f32";
  options.cache_bytes = size_t{256} << 20;
  auto loaded = engine::Engine::Load(kModel, options);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  engine::Engine& engine = *loaded.value();

  std::vector<std::vector<int32_t>> texts(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    engine::Request request;
    request.prompt = prompts[i]["prompt_ids"].get<std::vector<int32_t>>();
    auto ids = tokenizer->Encode(prompts[i]["prompt"].get<std::string>(),
                                 {.allow_special = true, .add_special_tokens = false});
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(ids.value(), request.prompt) << "prompt " << i;
    request.max_tokens = static_cast<int64_t>(prompts[i]["greedy_ids"].size());
    request.sampling.temperature = 0.0;
    request.on_done = [&texts, i](const engine::Completion& done) { texts[i] = done.tokens; };
    ASSERT_TRUE(engine.Submit(std::move(request)).ok());
  }
  while (engine.Step()) {
  }
  for (size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(texts[i], prompts[i]["greedy_ids"].get<std::vector<int32_t>>()) << "prompt " << i;
}

}  // namespace
}  // namespace fusiontree
