// The engine on real (tiny) checkpoints: one answer alone or in a batch, whatever the chunk, the threads and
// the session's cache; greedy texts equal Transformers'.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/api.h"

namespace fusiontree::engine {
namespace {

const std::filesystem::path kParity = std::filesystem::path(FUSIONTREE_TESTDATA) / "parity";

std::unique_ptr<Engine> Load(const std::string& name, EngineOptions options = {}) {
  if (options.cache_bytes == 0) options.cache_bytes = size_t{64} << 20;
  auto engine = Engine::Load((kParity / name).string(), options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

nlohmann::json Facts(const std::string& name) {
  std::ifstream in(kParity / name / "golden.json");
  return nlohmann::json::parse(in);
}

std::vector<Completion> RunAll(Engine& engine, std::vector<Request> requests) {
  std::vector<Completion> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_done = [&results, i](const Completion& done) { results[i] = done; };
    const base::Status status = engine.Submit(std::move(requests[i]));
    EXPECT_TRUE(status.ok()) << status.message();
  }
  while (engine.Step()) {
  }
  return results;
}

std::vector<Request> Requests(const nlohmann::json& facts, double temperature) {
  std::vector<Request> requests;
  for (const auto& prompt : facts["prompts"]) {
    Request r;
    r.prompt = prompt["ids"].get<std::vector<int32_t>>();
    r.max_tokens = static_cast<int64_t>(prompt["greedy"].size());
    r.sampling.temperature = temperature;
    r.sampling.seed = 42;
    requests.push_back(r);
  }
  return requests;
}

TEST(Engine, GreedyTextsEqualTransformers) {
  for (const char* name : {"qwen2_sliding", "qwen3", "llama3_rope", "mistral_sliding", "smollm2_like"}) {
    EngineOptions options;
    options.dtype = "f32";
    options.chunk = 32;
    auto engine = Load(name, options);
    const nlohmann::json facts = Facts(name);
    const auto results = RunAll(*engine, Requests(facts, 0.0));
    for (size_t i = 0; i < results.size(); ++i)
      EXPECT_EQ(results[i].tokens, facts["prompts"][i]["greedy"].get<std::vector<int32_t>>())
          << name << " prompt " << i;
  }
}

TEST(Engine, SampledTextIsTheSameAloneInABatchAndInAnyChunk) {
  for (const char* name : {"qwen2_tied", "qwen2_sliding"}) {
    const nlohmann::json facts = Facts(name);
    std::vector<std::vector<int32_t>> alone;
    for (const Request& r : Requests(facts, 0.9)) {
      auto engine = Load(name);
      alone.push_back(RunAll(*engine, {r})[0].tokens);
    }
    for (int64_t chunk : {1, 17, 512}) {
      for (int threads : {1, 2, 3}) {
        EngineOptions options;
        options.chunk = chunk;
        options.threads = threads;
        options.max_sequences = chunk == 17 ? 2 : 64;
        auto engine = Load(name, options);
        const auto results = RunAll(*engine, Requests(facts, 0.9));
        for (size_t i = 0; i < results.size(); ++i)
          EXPECT_EQ(results[i].tokens, alone[i]) << name << " chunk " << chunk << " threads " << threads;
      }
    }
  }
}

TEST(Engine, ASessionPrefillsOnlyWhatIsNewAndSaysTheSame) {
  const nlohmann::json facts = Facts("qwen2_tied");
  auto engine = Load("qwen2_tied");
  Request first = Requests(facts, 0.0)[1];
  first.session = 3;
  const Completion a = RunAll(*engine, {first})[0];
  EXPECT_EQ(a.reused_tokens, 0);
  Request second = first;
  second.prompt.insert(second.prompt.end(), a.tokens.begin(), a.tokens.end());
  second.prompt.insert(second.prompt.end(), {1, 2, 3});
  const Completion reused = RunAll(*engine, {second})[0];
  // All but the last generated token has gone through the model.
  EXPECT_EQ(reused.reused_tokens, static_cast<int64_t>(first.prompt.size() + a.tokens.size()) - 1);
  second.session = -1;
  EXPECT_EQ(RunAll(*engine, {second})[0].tokens, reused.tokens);
  // A prompt that leaves the common path half-way keeps what is common.
  Request third = second;
  third.session = 3;
  third.prompt.resize(20);
  third.prompt.back() ^= 1;
  const Completion branched = RunAll(*engine, {third})[0];
  EXPECT_EQ(branched.reused_tokens, 19);
  third.session = -1;
  EXPECT_EQ(RunAll(*engine, {third})[0].tokens, branched.tokens);
}

TEST(Engine, StopIdsEndTheTextAndAreNoPartOfIt) {
  const nlohmann::json facts = Facts("qwen2_tied");
  EngineOptions options;
  options.dtype = "f32";
  auto engine = Load("qwen2_tied", options);
  Request r = Requests(facts, 0.0)[1];
  const auto greedy = facts["prompts"][1]["greedy"].get<std::vector<int32_t>>();
  r.stop_ids = {greedy[5]};
  const Completion done = RunAll(*engine, {r})[0];
  EXPECT_EQ(done.reason, FinishReason::kStop);
  EXPECT_LE(done.tokens.size(), 5u);
  EXPECT_TRUE(std::equal(done.tokens.begin(), done.tokens.end(), greedy.begin()));
}

TEST(Engine, ACallbackCanEndItsRequestAndNobodyElses) {
  const nlohmann::json facts = Facts("qwen2_tied");
  auto engine = Load("qwen2_tied");
  std::vector<Request> requests = Requests(facts, 0.0);
  const auto whole = RunAll(*engine, requests);
  int seen = 0;
  requests[0].on_token = [&](int32_t) { return ++seen < 3; };
  const auto results = RunAll(*engine, requests);
  EXPECT_EQ(results[0].reason, FinishReason::kCancelled);
  EXPECT_EQ(results[0].tokens.size(), 3u);
  EXPECT_EQ(results[1].tokens, whole[1].tokens);
  EXPECT_EQ(results[2].tokens, whole[2].tokens);
}

TEST(Engine, ATightCacheQueuesInsteadOfFailing) {
  const nlohmann::json facts = Facts("qwen2_tied");
  auto engine = Load("qwen2_tied");
  const auto whole = RunAll(*engine, Requests(facts, 0.0));
  EngineOptions options;
  options.cache_bytes = 400000;
  auto tight = Load("qwen2_tied", options);
  const auto results = RunAll(*tight, Requests(facts, 0.0));
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(results[i].tokens, whole[i].tokens);
}

TEST(Engine, WhatCanNeverRunIsRefusedInASentence) {
  EngineOptions options;
  options.cache_bytes = 10000;
  auto engine = Load("qwen2_tied", options);
  auto refuse = [&](Request r) {
    const base::Status status = engine->Submit(std::move(r));
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.kind(), base::ErrorKind::kBadInput);
    return status.message();
  };
  EXPECT_NE(refuse({}).find("empty"), std::string::npos);
  EXPECT_NE(refuse({.prompt = {1, 100000}}).find("outside the vocabulary"), std::string::npos);
  EXPECT_NE(refuse({.prompt = {-1}}).find("outside the vocabulary"), std::string::npos);
  EXPECT_NE(refuse({.prompt = std::vector<int32_t>(1 << 20, 1)}).find("context"), std::string::npos);
  EXPECT_NE(refuse({.prompt = std::vector<int32_t>(180, 1)}).find("cache"), std::string::npos);
  EXPECT_NE(refuse({.prompt = {1}, .max_tokens = 0}).find("max_tokens"), std::string::npos);
  EXPECT_FALSE(engine->Step());
}

TEST(Engine, LoadNamesTheOptionThatIsWrong) {
  auto message = [](auto change) {
    EngineOptions options;
    change(options);
    auto result = Engine::Load((kParity / "qwen2_tied").string(), options);
    return result.ok() ? std::string("loaded") : result.status().message();
  };
  EXPECT_NE(message([](EngineOptions& o) { o.isa = "sse9"; }).find("sse9"), std::string::npos);
  EXPECT_NE(message([](EngineOptions& o) { o.dtype = "int3"; }).find("int3"), std::string::npos);
  EXPECT_NE(message([](EngineOptions& o) { o.kv = "x"; }).find("\"x\""), std::string::npos);
  EXPECT_NE(message([](EngineOptions& o) { o.threads = 100000; }).find("100000 threads"), std::string::npos);
  EXPECT_NE(message([](EngineOptions& o) { o.chunk = 0; }).find("chunk"), std::string::npos);
  EXPECT_FALSE(Engine::Load("/nowhere", {}).ok());
}

}  // namespace
}  // namespace fusiontree::engine
