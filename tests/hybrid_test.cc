// Models with a state (FusionTree, Mamba; testdata/fusiontree, testdata/mamba): one answer however a text is
// cut, whatever runs beside it, wherever its state has been; and exactly the tokens that should influence a
// token do.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/sample.h"
#include "checkpoint/checkpoint.h"
#include "engine/forced_run.h"
#include "kernels/variants.h"
#include "models/fusiontree/config.h"
#include "models/model.h"

namespace fusiontree {
namespace {

namespace fs = std::filesystem;
using Text = std::vector<int32_t>;

std::vector<std::string> Folders() {
  std::vector<std::string> names;
  for (const char* family : {"fusiontree", "mamba"})
    for (const auto& entry : fs::directory_iterator(fs::path(FUSIONTREE_TESTDATA) / family))
      if (entry.is_directory()) names.push_back(family + ("/" + entry.path().filename().string()));
  std::sort(names.begin(), names.end());
  return names;
}

// The best variant here that is not emulated; plain loops elsewhere.
const kernels::Table* BestTable() {
  const kernels::Table* best = kernels::RefTable();
  for (const kernels::Variant& variant : kernels::Variants())
    if (variant.table) best = variant.table;
  return best;
}

class Hybrid : public testing::TestWithParam<std::string> {
 protected:
  void Load(models::ComputeType compute) {
    auto opened = checkpoint::Checkpoint::Open((fs::path(FUSIONTREE_TESTDATA) / GetParam()).string());
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    checkpoint_.emplace(std::move(opened).value());
    models::ModelOptions options;
    options.compute = compute;
    auto loaded = models::LoadModel(*checkpoint_, options, context_);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    model_ = std::move(loaded).value();
    vocab_ = model_->config().vocab_size;
  }
  Text TextOf(size_t length, size_t seed) const {
    Text text;
    for (size_t i = 0; i < length; ++i)
      text.push_back(
          static_cast<int32_t>((i * (17 + seed) + i * i * 3 + seed * 11 + 5) % static_cast<size_t>(vocab_)));
    return text;
  }
  // Logits of `count` more tokens of a sequence.
  std::vector<float> Run(ops::Context& context, cache::SequenceState* sequence, const int32_t* ids,
                         int64_t count, cache::SequenceState* other = nullptr, const Text& other_ids = {}) {
    cache::Batch batch;
    if (other) {
      EXPECT_TRUE(batch.Add(other, other_ids.data(), static_cast<int64_t>(other_ids.size())).ok());
    }
    const int64_t first = batch.rows();
    EXPECT_TRUE(batch.Add(sequence, ids, count).ok());
    std::vector<float> hidden(static_cast<size_t>(batch.rows() * model_->hidden_stride()));
    std::vector<uint8_t> ok(static_cast<size_t>(batch.rows()));
    model_->Forward(context, batch, hidden.data(), ok.data());
    EXPECT_EQ(std::count(ok.begin(), ok.end(), 1), batch.rows());
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < count; ++i) rows.push_back(first + i);
    std::vector<float> logits(static_cast<size_t>(count * model_->logits_stride()));
    model_->Head(context, hidden.data(), rows.data(), count, logits.data());
    return logits;
  }
  std::vector<float> InChunks(ops::Context& context, cache::SequenceState* sequence, const Text& text,
                              const std::vector<int64_t>& chunks) {
    std::vector<float> all;
    for (size_t turn = 0; sequence->length() < static_cast<int64_t>(text.size()); ++turn) {
      const int64_t at = sequence->length();
      const int64_t count = std::min(chunks[turn % chunks.size()], static_cast<int64_t>(text.size()) - at);
      const std::vector<float> part = Run(context, sequence, text.data() + at, count);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
  static bool Same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  base::ThreadPool pool_{2};
  ops::Context context_{&pool_, BestTable()};
  std::optional<checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<models::Model> model_;
  int64_t vocab_ = 0;
};

TEST_P(Hybrid, OneAnswerHoweverATextIsCut) {
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    ASSERT_NO_FATAL_FAILURE(Load(compute));
    base::ThreadPool three(3), alone(1);
    ops::Context context3(&three, BestTable()), context1(&alone, BestTable());
    cache::BlockPool pool(model_->cache_layout(), size_t{1} << 26);
    for (const size_t length : {size_t{1}, size_t{8}, size_t{60}}) {
      const Text text = TextOf(length, 1), other = TextOf(9, 2);
      auto whole = model_->NewSequence(&pool);
      const std::vector<float> expected =
          Run(context_, whole.get(), text.data(), static_cast<int64_t>(length));
      for (const std::vector<int64_t>& chunks : {std::vector<int64_t>{1}, std::vector<int64_t>{2, 7, 1, 13},
                                                 std::vector<int64_t>{16}, std::vector<int64_t>{37}}) {
        auto sequence = model_->NewSequence(&pool);
        EXPECT_TRUE(
            Same(InChunks(chunks[0] == 16 ? context3 : context1, sequence.get(), text, chunks), expected))
            << length << " tokens in chunks of " << chunks[0];
      }
      auto neighbour = model_->NewSequence(&pool), sequence = model_->NewSequence(&pool);
      EXPECT_TRUE(Same(
          Run(context_, sequence.get(), text.data(), static_cast<int64_t>(length), neighbour.get(), other),
          expected));
    }
    EXPECT_EQ(pool.CheckBooks(), "");
  }
}

// One batch of whole documents, as training packs them: attention, positions, time encoding, convolutions and
// scan begin anew with each.
TEST_P(Hybrid, PackedDocumentsEqualSeparateOnes) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kAuto));
  cache::BlockPool pool(model_->cache_layout(), size_t{1} << 26);
  std::vector<std::unique_ptr<cache::SequenceState>> documents;
  std::vector<Text> texts = {TextOf(5, 7), TextOf(17, 8), TextOf(9, 9), TextOf(1, 10)};
  cache::Batch batch;
  for (const Text& text : texts) {
    documents.push_back(model_->NewSequence(&pool));
    ASSERT_TRUE(batch.Add(documents.back().get(), text.data(), static_cast<int64_t>(text.size())).ok());
  }
  const int64_t stride = model_->hidden_stride();
  std::vector<float> packed(static_cast<size_t>(batch.rows() * stride));
  std::vector<uint8_t> ok(static_cast<size_t>(batch.rows()));
  model_->Forward(context_, batch, packed.data(), ok.data());
  int64_t row = 0;
  for (const Text& text : texts) {
    auto sequence = model_->NewSequence(&pool);
    cache::Batch alone;
    ASSERT_TRUE(alone.Add(sequence.get(), text.data(), static_cast<int64_t>(text.size())).ok());
    std::vector<float> hidden(text.size() * static_cast<size_t>(stride));
    model_->Forward(context_, alone, hidden.data(), ok.data());
    EXPECT_EQ(std::memcmp(hidden.data(), packed.data() + row * stride, hidden.size() * sizeof(float)), 0)
        << "document at row " << row;
    row += alone.rows();
  }
}

TEST_P(Hybrid, AStateThatWasCopiedSavedOrTruncatedGoesOnAlike) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kAuto));
  cache::BlockPool pool(model_->cache_layout(), size_t{1} << 26),
      elsewhere(model_->cache_layout(), size_t{1} << 26);
  const Text text = TextOf(59, 3), astray = TextOf(59, 4);
  auto whole = model_->NewSequence(&pool);
  const std::vector<float> all = Run(context_, whole.get(), text.data(), 59);
  const std::vector<float> expected(all.begin() + 30 * model_->logits_stride(), all.end());

  auto first = model_->NewSequence(&pool);
  Run(context_, first.get(), text.data(), 30);
  first->Mark();
  auto copy = model_->NewSequence(&pool), restored = model_->NewSequence(&elsewhere);
  ASSERT_TRUE(copy->CopyFrom(*first).ok());
  ASSERT_TRUE(restored->Restore(first->Save()).ok());
  EXPECT_TRUE(Same(Run(context_, copy.get(), text.data() + 30, 29), expected));
  EXPECT_TRUE(Same(Run(context_, restored.get(), text.data() + 30, 29), expected));
  // A wrong way, and back.
  InChunks(context_, first.get(),
           [&] {
             Text wrong(text.begin(), text.begin() + 30);
             wrong.insert(wrong.end(), astray.begin(), astray.begin() + 25);
             return wrong;
           }(),
           {4});
  ASSERT_EQ(first->Truncate(30), 30);
  EXPECT_TRUE(Same(InChunks(context_, first.get(), text, {5}), expected));
  // Behind the mark there is only the beginning, unless keys and values are all there is.
  const int64_t back = first->Truncate(29);
  EXPECT_EQ(back, model_->cache_layout().states.empty() ? 29 : 0);
  EXPECT_TRUE(Same(InChunks(context_, first.get(), text, {59}),
                   {all.begin() + back * model_->logits_stride(), all.end()}));
  EXPECT_EQ(pool.CheckBooks() + elsewhere.CheckBooks(), "");
}

// A pruned folder computes the bits of the whole one with those branches left out, token by token too.
class Pruned : public Hybrid {};

TEST_P(Pruned, EqualsTheWholeModelWithItsBranchesLeftOut) {
  const fs::path folder = fs::path(FUSIONTREE_TESTDATA) / GetParam();
  std::vector<std::string> plan;
  for (const models::ComputeType compute : {models::ComputeType::kF32, models::ComputeType::kBf16}) {
    ASSERT_NO_FATAL_FAILURE(Load(compute));
    const auto& config = dynamic_cast<const models::FusionTreeConfig&>(model_->config());
    plan.clear();
    for (const models::LayerType type : config.layer_types) plan.push_back(models::LayerTypeName(type));
    auto whole_file = checkpoint::Checkpoint::Open(folder.string() + "_unpruned");
    ASSERT_TRUE(whole_file.ok());
    models::ModelOptions options;
    options.compute = compute;
    options.layer_plan = plan;
    auto whole = models::LoadModel(*whole_file, options, context_);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    const Text text = TextOf(50, 12);
    cache::BlockPool pool(model_->cache_layout(), size_t{1} << 26),
        whole_pool((*whole)->cache_layout(), size_t{1} << 26);
    for (const int64_t chunk : {50, 1, 8}) {
      auto sequence = model_->NewSequence(&pool);
      const std::vector<float> pruned = InChunks(context_, sequence.get(), text, {chunk});
      std::swap(model_, *whole);
      auto zeroed = model_->NewSequence(&whole_pool);
      EXPECT_TRUE(Same(InChunks(context_, zeroed.get(), text, {chunk}), pruned)) << "chunks of " << chunk;
      std::swap(model_, *whole);
    }
    options.layer_plan[0] = "attention";
    auto other = models::LoadModel(*whole_file, options, context_);
    ASSERT_TRUE(other.ok());
    options.layer_plan.pop_back();
    EXPECT_NE(models::LoadModel(*whole_file, options, context_).status().message().find("entries for"),
              std::string::npos);
    options.layer_plan = plan;
    options.layer_plan[1] = "hybrid";  // of a layer that is only Mamba
    EXPECT_NE(models::LoadModel(*checkpoint_, options, context_).status().message().find("runs layer 1"),
              std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Pruned,
                         testing::Values("fusiontree/layer_types", "fusiontree/layer_types_serial"),
                         [](const auto& test) { return test.param.substr(11); });

INSTANTIATE_TEST_SUITE_P(All, Hybrid, testing::ValuesIn(base::Sample(Folders(), 2)), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

// Which tokens change a layer's attention when they are changed, query by query.
struct AttentionOf : ops::Probe {
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override {
    if (layer != 0 || op != "attention") return;
    width = columns;
    for (int64_t r = 0; r < rows; ++r)
      values.insert(values.end(), value + r * stride, value + r * stride + columns);
  }
  int64_t width = 0;
  std::vector<float> values;
};

class Influence : public Hybrid {};

TEST_P(Influence, ALocalHeadSeesItsWindowAndAGlobalOneEverything) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32));
  const auto& config = dynamic_cast<const models::FusionTreeConfig&>(model_->config());
  ASSERT_EQ(config.attn_conv_kernel, 0);  // else a key hears of its neighbours
  const int64_t d = config.head_dim, window = config.windows[0];
  cache::BlockPool pool(model_->cache_layout(), size_t{1} << 26);
  for (const int64_t chunk : {int64_t{1}, window - 1, window, window + 3, int64_t{71}}) {
    if (chunk < 1) continue;
    const Text text = TextOf(71, 5);
    const auto heads = [&](const Text& ids) {
      AttentionOf probe;
      context_.set_probe(&probe);
      auto sequence = model_->NewSequence(&pool);
      InChunks(context_, sequence.get(), ids, {chunk});
      context_.set_probe(nullptr);
      return probe;
    };
    const AttentionOf before = heads(text);
    for (const size_t key : {size_t{0}, size_t{1}, size_t{30}, size_t{63}, size_t{64}, size_t{70}}) {
      Text changed = text;
      changed[key] = (changed[key] + 1) % static_cast<int32_t>(vocab_);
      const AttentionOf after = heads(changed);
      for (size_t query = 0; query < text.size(); ++query) {
        for (int64_t head = 0; head < config.num_heads; ++head) {
          const size_t at = query * static_cast<size_t>(before.width) + static_cast<size_t>(head * d);
          const bool differs =
              std::memcmp(&before.values[at], &after.values[at], static_cast<size_t>(d) * sizeof(float)) != 0;
          const bool local = head < config.local_heads();
          const bool sees = key <= query && (!local || static_cast<int64_t>(query - key) < window);
          EXPECT_EQ(differs, sees) << "head " << head << ", query " << query << ", key " << key
                                   << ", chunks of " << chunk;
        }
      }
    }
  }
}

// The same of the mixer: every earlier token, no later one.
struct MixerOf : AttentionOf {
  void Observe(int layer, std::string_view op, const float* value, int64_t rows, int64_t columns,
               int64_t stride) override {
    if (op == "mamba_out") AttentionOf::Observe(layer, "attention", value, rows, columns, stride);
  }
};

TEST_P(Influence, TheMixerHearsOfEveryEarlierTokenAndOfNoLaterOne) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32));
  cache::BlockPool pool(model_->cache_layout(), size_t{1} << 26);
  const Text text = TextOf(40, 6);
  const auto out = [&](const Text& ids, int64_t chunk) {
    MixerOf probe;
    context_.set_probe(&probe);
    auto sequence = model_->NewSequence(&pool);
    InChunks(context_, sequence.get(), ids, {chunk});
    context_.set_probe(nullptr);
    return probe;
  };
  for (const int64_t chunk : {1, 40}) {
    const MixerOf before = out(text, chunk);
    for (const size_t token : {size_t{0}, size_t{13}, size_t{39}}) {
      Text changed = text;
      changed[token] = (changed[token] + 1) % static_cast<int32_t>(vocab_);
      const MixerOf after = out(changed, chunk);
      const size_t width = static_cast<size_t>(before.width);
      for (size_t t = 0; t < text.size(); ++t)
        EXPECT_EQ(
            std::memcmp(&before.values[t * width], &after.values[t * width], width * sizeof(float)) != 0,
            t >= token)
            << t << ", " << token;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Influence, testing::Values("fusiontree/attn_conv_0"));

class LongDecode : public Hybrid {
 protected:
  static double ResidentBytes() {
    std::ifstream in("/proc/self/statm");
    double all = 0, resident = 0;
    in >> all >> resident;
    return resident * static_cast<double>(::getpagesize());
  }
};

// Token by token: what stays in memory is the pages of heads that see everything, and nothing else.
TEST_P(LongDecode, HoldsWhatGlobalHeadsSee) {
  ASSERT_NO_FATAL_FAILURE(Load(models::ComputeType::kF32));
  const cache::CacheLayout& layout = model_->cache_layout();
  int64_t global = -1;
  for (size_t g = 0; g < layout.groups.size(); ++g)
    if (layout.groups[g].window == 0) global = static_cast<int64_t>(g);
  // Of global heads time grows with the square.
  const int64_t first = 4000, tokens = base::kInstrumented ? 8000 : global < 0 ? 100000 : 16000;
  base::ThreadPool alone(1);
  ops::Context context{&alone, BestTable()};
  cache::BlockPool pool(layout, size_t{1} << 30);
  auto sequence = model_->NewSequence(&pool);
  std::vector<float> hidden(static_cast<size_t>(model_->hidden_stride()));
  double live = 0, resident = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    if (t == first) {
      live = static_cast<double>(pool.bytes_live());
      resident = ResidentBytes();
    }
    const int32_t id = static_cast<int32_t>((t * 17 + t * t * 3) % vocab_);
    cache::Batch batch;
    ASSERT_TRUE(batch.Add(sequence.get(), &id, 1).ok());
    uint8_t ok = 0;
    model_->Forward(context, batch, hidden.data(), &ok);
    ASSERT_EQ(ok, 1);
  }
  const double grown = static_cast<double>(pool.bytes_live()) - live;
  double expected = 0;
  if (global >= 0)
    expected = static_cast<double>(tokens / 64 - first / 64) *
               static_cast<double>(layout.PageBytes(static_cast<size_t>(global)));
  // Of a window the page that is written may have just begun.
  double page = 0;
  for (size_t g = 0; g < layout.groups.size(); ++g) page += static_cast<double>(layout.PageBytes(g));
  EXPECT_NEAR(grown, expected, page);
  // A sanitizer keeps what was freed.
  if (!base::kInstrumented) {
    EXPECT_LE(ResidentBytes() - resident, expected + (2 << 20));
  }
}

INSTANTIATE_TEST_SUITE_P(Of, LongDecode,
                         testing::Values("fusiontree/no_global_heads", "fusiontree/all_mamba",
                                         "fusiontree/base"));

}  // namespace
}  // namespace fusiontree
