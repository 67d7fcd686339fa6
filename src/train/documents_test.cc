// Runs over documents: states that pass from row to row, layers computed again, a teacher, parameter groups.
#include <cmath>
#include <cstring>

#include "base/sample.h"
#include "data/shards.h"
#include "data/testing.h"
#include "kernels/variants.h"
#include "parallel/local.h"
#include "train/snapshot_folder.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

class Documents : public data::TempFolder {
 protected:
  void SetUp() override {
    Write("model.json", R"({"model_type": "fusiontree", "vocab_size": 259, "hidden_size": 16,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "window_size": 6,
      "global_heads": 2, "gate_rank": 3, "ssm_state_size": 4, "max_position_embeddings": 100, "srte_encoding": "learnable",
      "dropout": 0.1, "drop_branch_prob": 0.2})");
    std::string text;
    for (int i = 0; i < 40; ++i)  // of 3 to 600 bytes, one longer than the model's positions
      text += std::string(static_cast<size_t>(3 + i * i * 3 / 8), static_cast<char>('a' + i % 26)) +
              std::to_string(i * i) + "\n";
    Write("texts/a.txt", text);
    const tokenizer::Tokenizer tokenizer = data::ByteTokenizer();
    const auto sources = data::FindSources({Path("texts")});
    ASSERT_TRUE(sources.ok()) << sources.status().message();
    data::ShardOptions options;
    options.held_out = 0.2;
    data::DocumentReader reader(*sources, {.cut = data::Cut::kLines});
    base::ThreadPool pool(1);
    const auto written = data::WriteShards(&reader, *data::DocumentParser::Make(&tokenizer), tokenizer,
                                           Path("shards"), options, &pool);
    ASSERT_TRUE(written.ok()) << written.status().message();
  }
  std::string Config(const std::string& more, const std::string& stage = "") const {
    return "model: " + Path("model.json") + "\nseed: 3\nslots: 2\ndata: [{path: " + Path("shards") +
           "}]\nstages:\n  - {tokens: 600, length: 30, batch: 120" + stage +
           "}\n  - {tokens: 480, length: 60, batch: 240" + stage +
           "}\noptimizer: {learning_rate: 0.01, clip: 0.5" + more;
  }
  // Runs `steps` of it, or to the end, and saves; the weights, or what went wrong.
  base::Result<std::vector<float>> Train(const std::string& config, const std::string& run,
                                         bool resume = false, int64_t steps = 100,
                                         parallel::Communicator* communicator = nullptr) {
    base::ThreadPool pool(communicator ? 1 : 2);
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                        Trainer::Create(config, "run.yaml", {Path(run), resume, false}, &pool,
                                        kernels::Best().table, communicator));
    for (int64_t i = 0; i < steps && !trainer->done(); ++i) {
      FT_ASSIGN_OR_RETURN(const StepReport report, trainer->Step());
      if (communicator == nullptr) reports_[run].push_back(report);
    }
    FT_RETURN_IF_ERROR(trainer->Save().status());
    FT_RETURN_IF_ERROR(trainer->AwaitSave());
    return trainer->master();
  }
  std::vector<float> Weights(const std::string& config, const std::string& run, bool resume = false,
                             int64_t steps = 100) {
    const auto weights = Train(config, run, resume, steps);
    EXPECT_TRUE(weights.ok()) << weights.status().message();
    return weights.ok() ? *weights : std::vector<float>();
  }
  static bool Same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  std::map<std::string, std::vector<StepReport>> reports_;
};

TEST_F(Documents, StatesPassFromRowToRowWhateverTheRanksAndRestarts) {
  const std::string passing = Config("}\n", ", state_passing: true");
  const std::vector<float> one = Weights(passing, "one");
  EXPECT_FALSE(Same(one, Weights(Config("}\n"), "apart")));
  for (const int64_t stop : base::Sample<int64_t>({2, 5, 6}, 3)) {  // within each stage, and between
    const std::string run = "stop" + std::to_string(stop);
    const base::Status status = parallel::RunRanks(2, [&](parallel::Communicator& communicator) {
      return Train(passing, run, false, stop, &communicator).status();
    });
    ASSERT_TRUE(status.ok()) << status.message();
    const bool carried = std::filesystem::exists(SnapshotPath(Path(run), stop) + "/" + kCarriedFile);
    EXPECT_EQ(carried, stop != 5);
    EXPECT_TRUE(Same(one, Weights(passing, run, true))) << stop;
  }
  Weights(passing, "cut", false, 2);
  std::filesystem::remove(SnapshotPath(Path("cut"), 2) + "/" + kCarriedFile);
  EXPECT_NE(Train(passing, "cut", true).status().message().find(kCarriedFile), std::string::npos);
}

TEST_F(Documents, ARowGoesOnWhereTheOneBeforeEnded) {
  const std::string text = Config("}\n", ", state_passing: true");
  base::ThreadPool pool(2);
  const auto trainer =
      Trainer::Create(text, "run.yaml", {Path("run"), false, false}, &pool, kernels::Best().table);
  ASSERT_TRUE(trainer.ok());
  const models::Model& model = (*trainer)->model();
  const auto config = ReadRunConfig(text, "run.yaml");
  const auto rows = RowSource::Open(*config);
  SlotBuilder builder(&*config, rows->get(), &model);
  ops::Context context(&pool, kernels::Best().table);
  std::vector<std::vector<std::byte>> left;
  int64_t passed = 0, anew = 0;
  for (int64_t step = 0; step < 5; ++step) {
    for (int64_t row = 0; row < 4; ++row) {
      const auto read = (*rows)->Get((*rows)->PlaceOf(step), row);
      ASSERT_TRUE(read.ok());
      const auto built = builder.Build(step, {*read}, row);
      ASSERT_TRUE(built.ok());
      const data::Piece& piece = read->pieces[0];
      if (piece.continues && piece.first_position + piece.length <= 100) {
        EXPECT_EQ(built->sequences[0]->origin(), piece.first_position);
        EXPECT_EQ(built->sequences[0]->StateBytes(), left[static_cast<size_t>(row)]);
        ++passed;
      } else {
        EXPECT_EQ(built->sequences[0]->origin(), 0);
        anew += piece.continues;
      }
      std::vector<float> hidden(30 * static_cast<size_t>(model.hidden_stride()));
      std::vector<uint8_t> ok(30);
      model.Forward(context, built->slot.batch, hidden.data(), ok.data());
      builder.Carry(*built, {*read}, row);
      left.resize(4);
      left[static_cast<size_t>(row)] = built->sequences.back()->StateBytes();
    }
  }
  EXPECT_GT(passed, 8);
  EXPECT_GT(anew, 0);
}

TEST_F(Documents, LayersComputedAgainChangeNoBit) {
  const std::string stage = ", state_passing: true, windows: [3, 6]", losses = "}\nlosses: {polarise: 0.1}\n";
  const std::vector<float> kept = Weights(Config(losses, stage), "kept");
  const std::string again = Config(losses + "recompute: true\n", stage);
  EXPECT_TRUE(Same(kept, Weights(again, "again")));
  Weights(Config(losses, stage), "switched", false, 2);
  EXPECT_TRUE(Same(kept, Weights(again, "switched", true)));
}

TEST_F(Documents, ATeacherIsLearntFrom) {
  const auto config = [&](const std::string& seed, const std::string& more) {
    return "model: " + Path("model.json") + "\nseed: " + seed +
           "\nrecall: {vocab_size: 40, pairs: 3}\n"
           "stages: [{tokens: 1920, length: 24, batch: 96}]\noptimizer: {learning_rate: 0.01}\n" +
           more;
  };
  std::string sober = Slurp("model.json");
  sober.replace(sober.find("\"dropout\": 0.1, \"drop_branch_prob\": 0.2"), 39, "\"dropout\": 0");
  Write("model.json", sober);
  Weights(config("3", ""), "plain");
  const std::string teacher = "teacher: " + Path("plain/initial") + "\n";
  // Of itself it has nothing to learn, until it has moved.
  Weights(config("3", teacher + "losses: {distill: 1}\n"), "itself");
  EXPECT_NEAR(reports_["itself"].front().losses.distill, 0.0, 1e-9);
  EXPECT_GT(reports_["itself"].back().losses.distill, 1e-4);
  Weights(config("4", teacher + "losses: {distill: [[0, 10], [2000, 0]]}\n"), "other");
  const auto& other = reports_["other"];
  EXPECT_GT(other.front().losses.distill, 1e-4);
  EXPECT_NEAR(other.front().losses.total, other.front().losses.lm + 10 * other.front().losses.distill, 1e-9);
  EXPECT_NEAR(other[9].losses.total, other[9].losses.lm + 5.68 * other[9].losses.distill, 1e-9);

  const auto error = [&](const std::string& more) {
    return Train(config("5", more), "refused").status().message();
  };
  EXPECT_NE(error(teacher).find("needs a factor"), std::string::npos);
  EXPECT_NE(error("losses: {distill: 1}\n").find("needs a \"teacher\""), std::string::npos);
  std::string larger = Slurp("plain/initial/config.json");
  EXPECT_NE(
      Train(Config("}\nlosses: {distill: 1}\n" + teacher), "refused").status().message().find("tokenizer"),
      std::string::npos);
}

TEST_F(Documents, GatesAreCountedByPositionClassAndChannel) {
  const std::vector<TokenClass> classes = ClassesOf(data::ByteTokenizer());
  ASSERT_EQ(classes.size(), 259u);
  EXPECT_EQ(classes['a'], TokenClass::kPart);
  EXPECT_EQ(classes['7'], TokenClass::kNumber);
  EXPECT_EQ(classes['\n'], TokenClass::kSpace);
  EXPECT_EQ(classes['!'], TokenClass::kPunctuation);
  EXPECT_EQ(classes[0xc3], TokenClass::kBytes);
  EXPECT_EQ(classes[256], TokenClass::kSpecial);

  base::ThreadPool pool(1);
  ops::Context context(&pool, kernels::Best().table);
  const auto trainer =
      Trainer::Create(Config("}\n"), "run.yaml", {Path("run"), false, false}, &pool, kernels::Best().table);
  ASSERT_TRUE(trainer.ok());
  const models::Model& model = (*trainer)->model();
  cache::BlockPool pages(model.cache_layout(), size_t{1} << 30);
  const auto sequence = model.NewSequence(&pages);
  const std::vector<int32_t> ids = {'a', 'b', '7', '7', '!'};
  cache::Batch batch;
  ASSERT_TRUE(batch.Add(sequence.get(), ids.data(), 5).ok());
  GateMeter meter(context, classes);
  meter.Start(&batch);
  // Gates of two channels: token t has t / 10 and t / 10 + 0.5.
  std::vector<float> gates;
  for (int t = 0; t < 5; ++t)
    gates.insert(gates.end(), {static_cast<float>(t) / 10, static_cast<float>(t) / 10 + 0.5f, 99.0f});
  meter.Observe(1, "gate", gates.data(), 5, 2, 3);
  meter.Observe(0, "gate", gates.data(), 5, 2, 3);
  meter.Observe(1, "gate_act", nullptr, 5, 2, 3);
  meter.Observe(1, "gate", gates.data(), 5, 2, 3);
  ASSERT_EQ(meter.layers().size(), 2u);
  const GateStatistics& g = meter.layers()[0];
  EXPECT_EQ(g.layer, 1);
  EXPECT_EQ(g.count, 20.0);
  EXPECT_NEAR(g.mean(), 0.45, 1e-6);
  EXPECT_NEAR(g.ChannelMean(0), 0.2, 1e-6);
  EXPECT_NEAR(g.ChannelMean(1), 0.7, 1e-6);
  EXPECT_NEAR(g.deviation(), std::sqrt(0.0625 + 0.02), 1e-6);
  EXPECT_NEAR(g.classes[static_cast<size_t>(TokenClass::kNumber)].mean(), 0.5, 1e-6);
  EXPECT_NEAR(g.classes[static_cast<size_t>(TokenClass::kPart)].mean(), 0.3, 1e-6);
  EXPECT_NEAR(g.positions[0].mean(), 0.25, 1e-6);  // position 0
  EXPECT_NEAR(g.positions[1].mean(), 0.4, 1e-6);   // 1 and 2
  EXPECT_NEAR(g.positions[2].mean(), 0.6, 1e-6);   // 3 and 4
  EXPECT_EQ(g.bins[8] + g.bins[9], 4.0);           // 0.5 and 0.6, twice
  EXPECT_EQ(GateStatistics::FromFlat(g.Flat().data(), 2).Flat(), g.Flat());
}

TEST_F(Documents, HeldOutDocumentsShowTheGatesOfServing) {
  base::ThreadPool pool(2);
  const auto trainer =
      Trainer::Create(Config("}\n"), "run.yaml", {Path("run"), false, false}, &pool, kernels::Best().table);
  ASSERT_TRUE(trainer.ok());
  const auto first = (*trainer)->EvaluateHeldOut(), second = (*trainer)->EvaluateHeldOut();
  ASSERT_TRUE(first.ok()) << first.status().message();
  ASSERT_GT(first->documents, 1);
  ASSERT_EQ(first->gates.size(), 2u);
  for (size_t layer = 0; layer < 2; ++layer) {
    // All rows but the last of each part of a document, 16 channels; no branch is lost.
    EXPECT_GT(first->gates[layer].count, 16.0 * 0.9 * static_cast<double>(first->tokens - first->documents));
    EXPECT_LE(first->gates[layer].count, 16.0 * static_cast<double>(first->tokens - first->documents));
    EXPECT_EQ(first->gates[layer].Flat(), second->gates[layer].Flat());
  }
}

TEST_F(Documents, GroupsHaveRatesOfTheirOwn) {
  const std::vector<float> weights = Weights(
      Config(", groups: [{match: embed, learning_rate_factor: 0}, {match: A_log, weight_decay: 0}]}\n"),
      "run");
  base::ThreadPool pool(1);
  const auto trainer =
      Trainer::Create(Config("}\n"), "run.yaml", {Path("fresh"), false, false}, &pool, kernels::Best().table);
  ASSERT_TRUE(trainer.ok());
  const Layout& layout = (*trainer)->layout();
  for (size_t i = 0; i < layout.count(); ++i) {
    const size_t bytes = static_cast<size_t>(layout.offset(i + 1) - layout.offset(i)) * sizeof(float);
    const bool same = std::memcmp(weights.data() + layout.offset(i),
                                  (*trainer)->master().data() + layout.offset(i), bytes) == 0;
    EXPECT_EQ(same, layout.name(i) == "model.embed_tokens.weight") << layout.name(i);
  }
  EXPECT_NE(Train(Config(", groups: [{match: wk}]}\n"), "refused").status().message().find("\"wk\""),
            std::string::npos);
}

}  // namespace
}  // namespace fusiontree::train
