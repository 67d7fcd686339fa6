// A model cut over ranks gives the bits of one rank (R2): every family and option of testdata/parity, every
// valid degree, as threads of this process.
#include "engine/ranks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/philox.h"
#include "base/sample.h"
#include "checkpoint/safetensors_writer.h"
#include "engine/forced_run.h"
#include "kernels/table.h"
#include "models/distributed.h"
#include "models/sharding.h"
#include "models/spec.h"
#include "parallel/local.h"
#include "parallel/tree.h"

namespace fusiontree::engine {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::vector<int32_t>>;

std::vector<std::string> Models() {
  std::vector<std::string> models;
  for (const auto& entry : fs::directory_iterator(fs::path(FUSIONTREE_TESTDATA) / "parity"))
    if (entry.is_directory()) models.push_back("parity/" + entry.path().filename().string());
  for (const char* name :
       {"fusiontree/base_bf16", "fusiontree/serial_token_rms_post", "fusiontree/layer_types",
        "fusiontree/layer_types_serial", "fusiontree/srte_factorized_per_layer_ssm_norm",
        "fusiontree/pyramidal", "fusiontree/no_global_heads", "fusiontree/all_global_heads",
        "fusiontree/one_kv_head", "fusiontree/no_alignment", "fusiontree/no_conv", "fusiontree/untied",
        "mamba/biases", "mamba/untied_rank"})
    models.push_back(name);
  std::sort(models.begin(), models.end());
  return models;
}

struct Schedule {
  int threads;
  bool together;
  int64_t chunk;
};

base::Status Logits(Runtime& runtime, const Texts& texts, const Schedule& schedule, std::vector<float>* out) {
  const int64_t vocab = runtime.model->config().vocab_size;
  std::vector<size_t> first = {0};
  for (const auto& text : texts) first.push_back(first.back() + text.size());
  out->assign(first.back() * static_cast<size_t>(vocab), 0);
  ForcedOptions options;
  options.chunk = schedule.chunk;
  options.together = schedule.together;
  return ForcedRun(*runtime.context, *runtime.model, texts, options,
                   [&](int64_t text, int64_t position, const float* row) {
                     const size_t at = first[static_cast<size_t>(text)] + static_cast<size_t>(position);
                     std::copy_n(row, vocab, out->begin() + static_cast<int64_t>(at) * vocab);
                     return base::OkStatus();
                   });
}

Texts TextsOf(const models::Config& config) {
  Texts texts(3);
  const size_t lengths[] = {static_cast<size_t>(std::min<int64_t>(70, config.max_positions)), 1, 17};
  for (size_t t = 0; t < texts.size(); ++t)
    for (size_t i = 0; i < lengths[t]; ++i)
      texts[t].push_back(
          static_cast<int32_t>((i * 37 + t * 11 + 5) % static_cast<size_t>(config.vocab_size)));
  return texts;
}

void ExpectSameBitsAtEveryDegree(const std::string& path) {
  for (const char* dtype : {"f32", "bf16"}) {
    EngineOptions options;
    options.isa = "ref";
    options.dtype = dtype;
    options.threads = 1;
    auto one = MakeRuntime(path, options);
    ASSERT_TRUE(one.ok()) << one.status().message();
    const Texts texts = TextsOf((*one)->model->config());
    std::vector<float> expected;
    ASSERT_TRUE(Logits(**one, texts, {1, true, 512}, &expected).ok());
    for (const int64_t degree : parallel::ValidDegrees((*one)->model->config().reduction_slices)) {
      if (degree == 1) continue;
      for (const Schedule& schedule :
           {Schedule{1, true, 512}, Schedule{2, false, 16}, Schedule{1, true, 1}}) {
        const base::Status status = parallel::RunRanks(
            static_cast<int>(degree), [&](parallel::Communicator& communicator) -> base::Status {
              if (communicator.rank() != 0) return Follow(communicator);
              EngineOptions cut = options;
              cut.communicator = &communicator;
              cut.threads = schedule.threads;
              std::vector<float> got;
              {
                FT_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime, MakeRuntime(path, cut));
                FT_RETURN_IF_ERROR(Logits(*runtime, texts, schedule, &got));
              }
              EndRanks(communicator);
              EXPECT_EQ(std::memcmp(got.data(), expected.data(), expected.size() * sizeof(float)), 0)
                  << dtype << ", " << degree << " ranks, chunks of " << schedule.chunk;
              return base::OkStatus();
            });
        EXPECT_TRUE(status.ok()) << status.message();
      }
    }
  }
}

class Ranks : public testing::TestWithParam<std::string> {
 protected:
  std::string path() const { return (fs::path(FUSIONTREE_TESTDATA) / GetParam()).string(); }
};

TEST_P(Ranks, EveryDegreeGivesTheBitsOfOneRank) { ExpectSameBitsAtEveryDegree(path()); }

// Eight slices, two KV heads, a vocabulary of two blocks: at eight ranks four share each KV head, and six
// have no row of the vocabulary.
void WriteModelOfEightSlices(const fs::path& folder) {
  std::ofstream(folder / "config.json") << R"({"model_type": "qwen2", "vocab_size": 4100, "hidden_size": 64,
    "intermediate_size": 104, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false})";
  std::vector<checkpoint::TensorSpec> specs;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    specs.push_back({name, tensor::DType::kF32, shape});
  };
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) add(name, {4100, 64});
  add("model.norm.weight", {64});
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      add(prefix + norm + ".weight", {64});
    for (const auto& [name, rows] : {std::pair{"q", 64}, {"k", 16}, {"v", 16}}) {
      add(fmt::format("{}self_attn.{}_proj.weight", prefix, name), {rows, 64});
      add(fmt::format("{}self_attn.{}_proj.bias", prefix, name), {rows});
    }
    add(prefix + "self_attn.o_proj.weight", {64, 64});
    for (const char* name : {"gate", "up"}) add(fmt::format("{}mlp.{}_proj.weight", prefix, name), {104, 64});
    add(prefix + "mlp.down_proj.weight", {64, 104});
  }
  auto writer = checkpoint::SafetensorsWriter::Create((folder / "model.safetensors").string(), specs);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (size_t t = 0; t < specs.size(); ++t) {
    size_t count = 1;
    for (const int64_t size : specs[t].shape) count *= static_cast<size_t>(size);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(base::UnitDouble(base::Philox(8, i, t)[0], 0)) * 0.5f - 0.25f;
    ASSERT_TRUE(writer->Append(specs[t].name, values.data(), count * sizeof(float)).ok());
  }
  ASSERT_TRUE(writer->Finish().ok());
}

TEST(RanksOfEightSlices, EveryDegreeGivesTheBitsOfOneRank) {
  std::string folder = fs::temp_directory_path() / "fusiontree-ranks-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  WriteModelOfEightSlices(folder);
  const auto opened = checkpoint::Checkpoint::Open(folder);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const auto spec = models::ReadSpec(*opened);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(parallel::ValidDegrees((*spec)->config().reduction_slices), (std::vector<int64_t>{1, 2, 4, 8}));
  ExpectSameBitsAtEveryDegree(folder);
  fs::remove_all(folder);
}

// Rank 0 chooses how many threads the others go on with.
TEST(Threads, AreThoseOfRankZeroOnAllRanks) {
  const std::string path = (fs::path(FUSIONTREE_TESTDATA) / "parity" / "qwen2_tied").string();
  const auto threads = [] {
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  };
  const RankTasks tasks = {{"meet", [](parallel::Communicator& communicator, int64_t) {
                              communicator.Barrier();
                              return base::OkStatus();
                            }}};
  const base::Status status =
      parallel::RunRanks(2, [&](parallel::Communicator& communicator) -> base::Status {
        if (communicator.rank() != 0) return Follow(communicator, tasks);
        EngineOptions options;
        options.communicator = &communicator;
        options.threads = 1;
        {
          FT_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime, MakeRuntime(path, options));
          const auto before = threads();
          for (const int wanted : {3, 2}) {
            UseThreadsOnAllRanks(communicator, wanted);
            FT_RETURN_IF_ERROR(RunOnAllRanks(communicator, tasks, "meet", 0));
            EXPECT_EQ(threads(), before + wanted - 1);
          }
        }
        EndRanks(communicator);
        return base::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status.message();
}

// Each rank asks the file for what it owns, whatever the format: q and k rows of llama.cpp's files in whole
// heads.
TEST_P(Ranks, EachReadsItsOwnBytes) {
  const fs::path gguf =
      fs::path(FUSIONTREE_TESTDATA) / "gguf" / (fs::path(GetParam()).filename().string() + ".gguf");
  std::vector<std::string> paths = {path()};
  if (fs::exists(gguf)) paths.push_back(gguf.string());
  for (const std::string& file : paths) {
    auto checkpoint = checkpoint::Checkpoint::Open(file);
    ASSERT_TRUE(checkpoint.ok());
    const auto spec = models::ReadSpec(*checkpoint);
    ASSERT_TRUE(spec.ok());
    const models::Config& config = (*spec)->config();
    for (const int64_t degree : parallel::ValidDegrees((*spec)->config().reduction_slices)) {
      std::vector<uint64_t> read(static_cast<size_t>(degree)), owned(read.size());
      const base::Status status =
          parallel::RunRanks(static_cast<int>(degree), [&](parallel::Communicator& communicator) {
            const models::Shard shard{communicator.rank(), communicator.size()};
            const size_t rank = static_cast<size_t>(shard.rank);
            FT_ASSIGN_OR_RETURN(const checkpoint::Checkpoint own, checkpoint::Checkpoint::Open(file));
            for (const models::TensorRule& rule : (*spec)->Rules(own.format())) {
              FT_ASSIGN_OR_RETURN(const checkpoint::TensorInfo* info, models::FindTensor(own, rule));
              owned[rank] += models::OwnedBytes(*info, models::OwnedPart(rule, (*spec)->heads(), shard));
            }
            const checkpoint::TensorInfo* tied = own.Find("lm_head.weight");
            if (tied && config.tie_word_embeddings) {  // it and the embedding are compared
              const base::Range rows = models::VocabularyRows(config.vocab_size, shard);
              owned[rank] += 2 * models::OwnedBytes(*tied, {rows, {0, config.hidden_size}});
            }
            base::ThreadPool pool(1);
            ops::Context context(&pool, kernels::RefTable(), &communicator);
            const uint64_t before = own.bytes_read();
            const auto model = models::LoadModel(own, {}, context);
            read[rank] = own.bytes_read() - before;
            return model.status();
          });
      ASSERT_TRUE(status.ok()) << status.message();
      for (size_t rank = 0; rank < read.size(); ++rank) {
        EXPECT_GE(read[rank], owned[rank]) << file << ", rank " << rank << " of " << degree;
        EXPECT_LE(static_cast<double>(read[rank]), 1.1 * static_cast<double>(owned[rank]))
            << file << ", rank " << rank << " of " << degree;
      }
    }
  }
}

TEST(RanksErrors, NameTheDegreeTheFileAndTheRank) {
  const std::string parity = (fs::path(FUSIONTREE_TESTDATA) / "parity").string() + "/";
  const auto load = [&](int ranks, const std::function<void(int, std::string*, EngineOptions*)>& choose) {
    return parallel::RunRanks(ranks, [&](parallel::Communicator& communicator) -> base::Status {
      EngineOptions options;
      options.communicator = &communicator;
      options.threads = 1;
      std::string model = parity + "llama_bias";
      choose(communicator.rank(), &model, &options);
      FT_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime, LoadShard(model, options));
      if (communicator.rank() == 0) return base::OkStatus();
      return models::FollowModel(*runtime->model, *runtime->context,
                                 [](const parallel::Record&) { return base::Failed("unexpected"); });
    });
  };
  const auto message = [&](int ranks, const std::function<void(int, std::string*, EngineOptions*)>& choose) {
    const base::Status status = load(ranks, choose);
    EXPECT_FALSE(status.ok());
    return status.ok() ? "" : status.message();
  };
  EXPECT_TRUE(load(2, [](int, std::string*, EngineOptions*) {}).ok());
  EXPECT_NE(message(3, [](int, std::string*, EngineOptions*) {})
                .find("cannot be cut over 3 ranks, but over 1, 2, 6"),
            std::string::npos);
  EXPECT_NE(message(2,
                    [&](int rank, std::string* model, EngineOptions*) {
                      if (rank == 1) *model = parity + "qwen3";
                    })
                .find("rank 1 finds another checkpoint than rank 0"),
            std::string::npos);
  EXPECT_NE(message(2,
                    [&](int rank, std::string* model, EngineOptions*) {
                      if (rank == 1) *model = parity + "nothing_here";
                    })
                .find("rank 1: "),
            std::string::npos);
  EXPECT_NE(message(2,
                    [&](int rank, std::string*, EngineOptions* options) {
                      if (rank == 1) options->dtype = "f32";
                    })
                .find("rank 1 has another numerics policy than rank 0"),
            std::string::npos);
  const int processors = base::ThreadPool::AvailableProcessors();
  EXPECT_NE(message(2,
                    [&](int, std::string*, EngineOptions* options) {
                      options->pin = true;
                      options->threads = processors;
                    })
                .find(fmt::format("{} threads in all on {} processors", 2 * processors, processors)),
            std::string::npos);
  EXPECT_NE(message(2,
                    [&](int rank, std::string*, EngineOptions* options) {
                      if (rank == 1) options->threads = 1000;
                    })
                .find("rank 1: 1000 threads"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(All, Ranks, testing::ValuesIn(base::Sample(Models(), 4)), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

}  // namespace
}  // namespace fusiontree::engine
