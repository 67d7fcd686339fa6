#include "train/estimate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "data/shards.h"
#include "models/spec.h"
#include "parallel/tree.h"
#include "train/trainer.h"

namespace fusiontree::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr double kMeasuredFlops = 2e12;  // of a measured step of one rank, unless one row has more
constexpr double kLongStep = 3.0;        // seconds; what warming up costs does not matter then
constexpr int64_t kShortRow = 16;        // of a step that costs little but the update

base::Result<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::BadInput("{}: cannot be opened", path);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

base::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  return out ? base::OkStatus() : base::Failed("{}: cannot be written", path);
}

// A line "Name:   123 kB" of a file of /proc, in bytes; 0 where there is none.
double KilobyteLine(const char* path, const std::string& name) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (line.rfind(name + ":", 0) == 0) return 1024.0 * std::atof(line.c_str() + name.size() + 1);
  return 0.0;
}

double PeakMemory() { return KilobyteLine("/proc/self/status", "VmHWM"); }

// So that the peak is that of what follows. Where it is not allowed the estimate is too high.
void ResetPeakMemory() { std::ofstream("/proc/self/clear_refs") << "5"; }

double AvailableMemory() {
  double bytes = KilobyteLine("/proc/meminfo", "MemAvailable");
  std::ifstream limit("/sys/fs/cgroup/memory.max");
  double most = 0.0;
  if (limit >> most) bytes = std::min(bytes, most);
  return bytes;
}

// Token shards of one document of random ids.
base::Status WriteRandomShards(const std::string& folder, int64_t vocab_size, int64_t tokens) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return base::Failed("{}: cannot be made: {}", folder, error.message());
  FT_ASSIGN_OR_RETURN(
      data::ShardWriter writer,
      data::ShardWriter::Create(folder + "/train-00000.tokens", static_cast<uint32_t>(vocab_size), 0));
  data::EncodedDocument document;
  for (int64_t t = 0; t < tokens; ++t)
    document.ids.push_back(static_cast<int32_t>(base::Philox(0, 0, static_cast<uint64_t>(t))[0] %
                                                static_cast<uint64_t>(vocab_size)));
  document.text_bytes = static_cast<uint64_t>(tokens);
  FT_RETURN_IF_ERROR(writer.Add(document));
  FT_ASSIGN_OR_RETURN(const data::ShardHeader header, writer.Finish());
  const json nothing = {
      {"documents", 0}, {"tokens", 0}, {"targets", 0}, {"text_bytes", 0}, {"files", json::array()}};
  const json train = {{"documents", header.documents},
                      {"tokens", header.tokens},
                      {"targets", header.targets},
                      {"text_bytes", header.text_bytes},
                      {"files", {"train-00000.tokens"}}};
  const json index = {{"format", "fusiontree token shards"},
                      {"version", 1},
                      {"vocab_size", vocab_size},
                      {"eos_id", 0},
                      {"tokenizer_digest", "0000000000000000"},
                      {"tokenizer", nullptr},
                      {"held_out_fraction", 0.0},
                      {"empty_documents", 0},
                      {"skipped_documents", 0},
                      {"train", train},
                      {"held_out", nothing}};
  return WriteFile(folder + "/" + data::kShardIndex, index.dump());
}

// The config.json of a model with its first layers only.
std::string FirstLayers(json config, int64_t layers) {
  config["num_hidden_layers"] = layers;
  if (config.contains("layer_types") && config["layer_types"].is_array())
    while (config["layer_types"].size() > static_cast<size_t>(layers)) config["layer_types"].erase(layers);
  return config.dump();
}

// Gradients that SlotSum holds at a time for so many slots of a rank.
int64_t SumBuffers(int64_t slots) {
  if (slots == 1) return 1;
  return 1 + SumBuffers(slots % 2 == 0 ? slots / 2 : 1);
}

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

// What was measured with some number of layers; in it everything is a line, so that is how it is extended.
struct Point {
  double parameters = 0.0;
  double update_seconds = 0.0, token_seconds = 0.0;
  double base_bytes = 0.0, token_bytes = 0.0;
  double token_flops = 0.0;         // where token_seconds was measured
  std::vector<double> stage_flops;  // a token of each stage
};

Point Extend(const Point& one, const Point& two, double layers) {
  const auto line = [&](double a, double b) { return a + (layers - 1.0) * std::max(0.0, b - a); };
  Point all;
  all.parameters = line(one.parameters, two.parameters);
  all.update_seconds = line(one.update_seconds, two.update_seconds);
  all.token_seconds = line(one.token_seconds, two.token_seconds);
  all.base_bytes = line(one.base_bytes, two.base_bytes);
  all.token_bytes = line(one.token_bytes, two.token_bytes);
  all.token_flops = line(one.token_flops, two.token_flops);
  for (size_t s = 0; s < one.stage_flops.size(); ++s)
    all.stage_flops.push_back(line(one.stage_flops[s], two.stage_flops[s]));
  return all;
}

double TokenFlops(const models::Model& model, int64_t length) {
  return 3.0 * (model.FlopsPerToken(length / 2) + model.HeadFlops());
}

class Estimator {
 public:
  Estimator(const RunConfig& config, const EstimateOptions& options, base::ThreadPool* pool,
            const kernels::Table* table, parallel::Communicator* communicator)
      : config_(config), options_(options), pool_(pool), table_(table), communicator_(communicator) {}

  base::Result<Estimate> Run() {
    FT_RETURN_IF_ERROR(OpenModel());
    FT_RETURN_IF_ERROR(OpenData());
    out_.tokens = config_.tokens();
    out_.steps = config_.steps();
    Point all;
    if (MustReduce()) {
      FT_ASSIGN_OR_RETURN(const Point one, Measure(1));
      FT_ASSIGN_OR_RETURN(const Point two, Measure(2));
      all = Extend(one, two, static_cast<double>(out_.layers));
      out_.measured_layers = 2;
    } else {
      FT_ASSIGN_OR_RETURN(all, Measure(0));
      out_.measured_layers = out_.layers;
    }
    const double ranks = Ranks(), own = static_cast<double>(config_.slots) / ranks;
    int64_t slot_tokens = 0;
    for (size_t s = 0; s < config_.stages.size(); ++s) {
      const Stage& stage = config_.stages[s];
      const double tokens = static_cast<double>(stage.batch);
      StageEstimate& e = out_.stages.emplace_back();
      e.length = stage.length;
      e.batch = stage.batch;
      e.steps = stage.steps();
      e.step_seconds =
          all.update_seconds + tokens / ranks * all.token_seconds * all.stage_flops[s] / all.token_flops;
      e.step_flops = tokens * all.stage_flops[s];
      slot_tokens = std::max(slot_tokens, stage.batch / config_.slots);
    }
    const int64_t sums = SumBuffers(static_cast<int64_t>(own)) - 1;
    out_.memory_bytes = all.base_bytes + all.token_bytes * static_cast<double>(slot_tokens) +
                        4.0 * static_cast<double>(sums) * all.parameters;
    return out_;
  }

 private:
  double Ranks() const { return communicator_ ? communicator_->size() : 1; }
  bool first() const { return communicator_ == nullptr || communicator_->rank() == 0; }

  base::Status OpenModel() {
    const std::string path = fs::is_directory(config_.model) ? config_.model + "/config.json" : config_.model;
    if (fs::path(path).extension() != ".json") return base::OkStatus();  // its own file has the config
    FT_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    const auto spec = models::ReadSpec(text);
    if (!spec.ok()) return spec.status().WithContext(path);
    model_ = json::parse(text, nullptr, false);
    out_.layers = (*spec)->config().num_layers;
    vocab_size_ = (*spec)->config().vocab_size;
    for (const models::TensorRule& rule : (*spec)->Rules(checkpoint::Checkpoint::Format::kSafetensors)) {
      int64_t elements = 1;
      for (const int64_t n : rule.shape) elements *= n;
      out_.parameters += elements;
    }
    return base::OkStatus();
  }

  base::Status OpenData() {
    std::error_code ignored;
    for (const DataSource& source : config_.data)
      if (!fs::exists(source.path, ignored)) out_.missing_data = source.path;
    if (out_.missing_data.empty()) return RowSource::Open(config_).status();
    if (vocab_size_ == 0)
      return base::BadInput("{}: is not there, and {} does not say which tokens to take instead",
                            out_.missing_data, config_.model);
    int64_t longest = 0;
    for (const Stage& stage : config_.stages) longest = std::max(longest, stage.length);
    base::Status status;
    if (first()) status = WriteRandomShards(options_.folder + "/shards", vocab_size_, 16 * longest);
    if (communicator_) communicator_->Barrier();
    return status;
  }

  // Weights as the products have them, a gradient like them, master weights, moments over the ranks, and
  // sums.
  bool MustReduce() const {
    if (out_.layers < 3) return false;
    double memory = options_.memory > 0.0 ? options_.memory : 0.7 * AvailableMemory() / Ranks();
    if (communicator_) communicator_->Broadcast(&memory, sizeof(memory));
    const double sums = static_cast<double>(SumBuffers(config_.slots / static_cast<int64_t>(Ranks())));
    return static_cast<double>(out_.parameters) * 4.0 * (3.0 + 2.0 / Ranks() + sums) > memory;
  }

  std::string DataYaml() const {
    if (!config_.recall.empty()) {
      const data::RecallOptions& r = config_.recall[0];
      return fmt::format("recall: {{vocab_size: {}, pairs: {}}}\n", r.vocab_size, r.pairs);
    }
    if (!out_.missing_data.empty()) return "data: [{path: " + Quoted(options_.folder + "/shards") + "}]\n";
    std::string yaml = "data:\n";
    for (const DataSource& source : config_.data)
      yaml += fmt::format("  - {{path: {}, weight: {}}}\n", Quoted(source.path), source.weight);
    return yaml;
  }

  // Layers 0: the model as it is.
  base::Result<Point> Measure(int64_t layers) {
    const std::string run = fmt::format("{}/{}-layers", options_.folder, layers);
    std::string model = config_.model;
    if (!model_.is_null()) {
      model = run + ".json";
      if (first())
        FT_RETURN_IF_ERROR(WriteFile(model, layers == 0 ? model_.dump() : FirstLayers(model_, layers)));
      if (communicator_) communicator_->Barrier();
    }
    const Stage& stage = config_.stages[0];
    // Rows of a recall task have one length.
    const int64_t short_row = config_.recall.empty() ? std::min(kShortRow, stage.length) : stage.length;
    const int64_t slots = static_cast<int64_t>(Ranks()), slot_rows = stage.rows() / config_.slots;
    int64_t rows = slot_rows;
    if (out_.parameters > 0) {
      const double row = 6.0 * static_cast<double>(out_.parameters * stage.length);
      rows = std::clamp<int64_t>(static_cast<int64_t>(kMeasuredFlops / row), 1, slot_rows);
    }
    const int64_t little = slots * short_row, much = slots * rows * stage.length;
    out_.measured_tokens = rows * stage.length;
    const std::string yaml = fmt::format(
        "model: {}\ndtype: {}\nslots: {}\nrecompute: {}\n{}stages:\n"
        "  - {{tokens: {}, length: {}, batch: {}}}\n  - {{tokens: {}, length: {}, batch: {}}}\n"
        "optimizer: {{learning_rate: 1e-6}}\nlosses: {{balance: 0.01}}\nlog_every: 1000\n",
        Quoted(model), config_.bf16 ? "bf16" : "f32", slots, config_.recompute, DataYaml(), 2 * little,
        short_row, little, 2 * much, stage.length, much);
    ResetPeakMemory();
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                        Trainer::Create(yaml, "dry run", {run}, pool_, table_, communicator_));
    double seconds[4], bytes[4];  // two steps of few tokens, two of more; the first of each is the slower
    int last = 3;
    for (int i = 0; i <= last; ++i) {
      if (communicator_) communicator_->Barrier();
      const auto begin = std::chrono::steady_clock::now();
      FT_RETURN_IF_ERROR(trainer->Step().status());
      seconds[i] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      bytes[i] = PeakMemory();
      double longest = seconds[i];
      if (communicator_) communicator_->Broadcast(&longest, sizeof(longest));
      if (i == 2 && longest > kLongStep) last = 2;
    }
    Point p;
    p.parameters = static_cast<double>(trainer->layout().size());
    if (model_.is_null()) out_.layers = trainer->model().config().num_layers;
    if (layers == 0) out_.parameters = trainer->layout().size();
    // A line through both kinds of steps.
    const double few = static_cast<double>(little / slots),
                 more = static_cast<double>(much / slots - little / slots);
    p.token_seconds = more > 0.0 ? std::max(0.0, seconds[last] - seconds[1]) / more : seconds[last] / few;
    p.update_seconds = std::max(0.0, seconds[1] - few * p.token_seconds);
    p.token_bytes = more > 0.0 ? std::max(0.0, bytes[last] - bytes[1]) / more : 0.0;
    p.base_bytes = bytes[1] - few * p.token_bytes;
    p.token_flops = TokenFlops(trainer->model(), stage.length);
    for (const Stage& s : config_.stages) p.stage_flops.push_back(TokenFlops(trainer->model(), s.length));
    std::error_code ignored;
    if (communicator_) communicator_->Barrier();
    if (first()) fs::remove_all(run, ignored);
    return p;
  }

  const RunConfig& config_;
  const EstimateOptions& options_;
  base::ThreadPool* pool_;
  const kernels::Table* table_;
  parallel::Communicator* communicator_;
  json model_;  // null: of a model whose config is not JSON
  int64_t vocab_size_ = 0;
  Estimate out_;
};

}  // namespace

double Estimate::seconds() const {
  double sum = 0.0;
  for (const StageEstimate& stage : stages) sum += static_cast<double>(stage.steps) * stage.step_seconds;
  return sum;
}

base::Result<Estimate> EstimateRun(const std::string& config_text, const std::string& name,
                                   const EstimateOptions& options, base::ThreadPool* pool,
                                   const kernels::Table* table, parallel::Communicator* communicator) {
  FT_ASSIGN_OR_RETURN(const RunConfig config, ReadRunConfig(config_text, name));
  const int64_t ranks = communicator ? communicator->size() : 1;
  if (!parallel::ValidDegree(config.slots, static_cast<int>(ranks)))
    return base::BadInput("{} ranks cannot share {} slots", ranks, config.slots);
  return Estimator(config, options, pool, table, communicator).Run();
}

}  // namespace fusiontree::train
