#include "train/run_config.h"

#include <filesystem>
#include <map>

#include "train/yaml.h"

namespace fusiontree::train {
namespace {

constexpr int64_t kMany = int64_t{1} << 50;

// What a run file names lies beside it, or else where the program was started.
std::string Find(const std::string& run_file, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path beside = fs::path(run_file).parent_path() / path;  // `path` itself where it is absolute
  return fs::exists(beside, ignored) ? beside.string() : path;
}

base::Status ReadData(YamlMap& map, RunConfig* c) {
  std::vector<YamlMap> sources, recall;
  FT_RETURN_IF_ERROR(map.Maps("data", &sources));
  FT_RETURN_IF_ERROR(map.Map("recall", &recall));
  for (YamlMap& source : sources) {
    DataSource& s = c->data.emplace_back();
    FT_RETURN_IF_ERROR(source.Text("path", &s.path));
    FT_RETURN_IF_ERROR(source.Number("weight", 1e-9, 1e9, &s.weight));
    FT_RETURN_IF_ERROR(source.RefuseUnknown());
    if (s.path.empty()) return base::BadInput("{}: \"path\" is missing", source.Where());
  }
  for (YamlMap& task : recall) {
    data::RecallOptions& r = c->recall.emplace_back();
    int64_t vocabulary = r.vocab_size, pairs = r.pairs;
    FT_RETURN_IF_ERROR(task.Integer("vocab_size", 4, 1 << 24, &vocabulary));
    FT_RETURN_IF_ERROR(task.Integer("pairs", 1, 1 << 20, &pairs));
    FT_RETURN_IF_ERROR(task.Number("power", 0.0, 10.0, &r.power));
    FT_RETURN_IF_ERROR(task.Bool("noise", &r.noise));
    FT_RETURN_IF_ERROR(task.RefuseUnknown());
    r.vocab_size = static_cast<int32_t>(vocabulary);
    r.pairs = static_cast<int32_t>(pairs);
  }
  if (c->data.empty() == c->recall.empty())
    return base::BadInput("{}: there must be either \"data\" or \"recall\"", map.Where());
  return base::OkStatus();
}

base::Status ReadStages(YamlMap& map, RunConfig* c) {
  std::vector<YamlMap> stages;
  FT_RETURN_IF_ERROR(map.Maps("stages", &stages));
  for (YamlMap& stage : stages) {
    Stage& s = c->stages.emplace_back();
    FT_RETURN_IF_ERROR(stage.Integer("tokens", 1, kMany, &s.tokens));
    FT_RETURN_IF_ERROR(stage.Integer("length", 2, 1 << 24, &s.length));
    FT_RETURN_IF_ERROR(stage.Integer("batch", 1, int64_t{1} << 32, &s.batch));
    FT_RETURN_IF_ERROR(stage.Number("learning_rate_factor", 0.0, 1e6, &s.learning_rate_factor));
    FT_RETURN_IF_ERROR(stage.Integers("windows", 1, 1 << 30, &s.windows));
    FT_RETURN_IF_ERROR(stage.Bool("state_passing", &s.state_passing));
    FT_RETURN_IF_ERROR(stage.RefuseUnknown());
    if (s.state_passing && !c->recall.empty())
      return base::BadInput("{}: \"state_passing\" is for documents, not for a recall task", stage.Where());
    if (s.state_passing && !c->teacher.empty())
      return base::BadInput("{}: \"state_passing\" is not for a run with a teacher, which sees rows alone",
                            stage.Where());
    for (const auto& [value, key] : {std::pair(s.tokens, "tokens"), {s.length, "length"}, {s.batch, "batch"}})
      if (value == 0) return base::BadInput("{}: \"{}\" is missing", stage.Where(), key);
    if (s.batch % s.length != 0)
      return base::BadInput("{}: \"batch\" ({}) must be a multiple of \"length\" ({})", stage.Where(),
                            s.batch, s.length);
    if (s.rows() % c->slots != 0)
      return base::BadInput("{}: the {} rows of a step cannot be divided over {} slots", stage.Where(),
                            s.rows(), c->slots);
  }
  if (c->stages.empty()) return base::BadInput("{}: \"stages\" is missing", map.Where());
  return base::OkStatus();
}

base::Status ReadOptimizer(YamlMap& map, RunConfig* c) {
  std::vector<YamlMap> optimizer;
  FT_RETURN_IF_ERROR(map.Map("optimizer", &optimizer));
  c->rate.total = c->tokens();
  for (YamlMap& o : optimizer) {
    AdamW& a = c->optimizer;
    FT_RETURN_IF_ERROR(o.Number("learning_rate", 0.0, 100.0, &a.learning_rate));
    FT_RETURN_IF_ERROR(o.Number("beta1", 0.0, 0.99999, &a.beta1));
    FT_RETURN_IF_ERROR(o.Number("beta2", 0.0, 0.9999999, &a.beta2));
    FT_RETURN_IF_ERROR(o.Number("epsilon", 1e-30, 1.0, &a.epsilon));
    FT_RETURN_IF_ERROR(o.Number("weight_decay", 0.0, 100.0, &a.weight_decay));
    FT_RETURN_IF_ERROR(o.Number("clip", 0.0, 1e9, &a.clip));
    FT_RETURN_IF_ERROR(o.Integer("warmup_tokens", 0, kMany, &c->rate.warmup));
    FT_RETURN_IF_ERROR(o.Integer("decay_tokens", 0, kMany, &c->rate.decay));
    FT_RETURN_IF_ERROR(o.Number("final_factor", 0.0, 1.0, &c->rate.final));
    std::string shape = "cosine";
    FT_RETURN_IF_ERROR(o.Choice("schedule", {"cosine", "wsd", "constant"}, &shape));
    c->rate.shape = shape == "cosine" ? Shape::kCosine : shape == "wsd" ? Shape::kWsd : Shape::kConstant;
    std::vector<YamlMap> groups;
    FT_RETURN_IF_ERROR(o.Maps("groups", &groups));
    for (YamlMap& group : groups) {
      ParameterGroup& g = c->groups.emplace_back();
      double decay = -1.0;
      FT_RETURN_IF_ERROR(group.Text("match", &g.match));
      FT_RETURN_IF_ERROR(group.Number("learning_rate_factor", 0.0, 1e6, &g.learning_rate_factor));
      FT_RETURN_IF_ERROR(group.Number("weight_decay", 0.0, 100.0, &decay));
      FT_RETURN_IF_ERROR(group.RefuseUnknown());
      if (g.match.empty()) return base::BadInput("{}: \"match\" is missing", group.Where());
      if (decay >= 0.0) g.weight_decay = decay;
    }
    FT_RETURN_IF_ERROR(o.RefuseUnknown());
    if (c->rate.warmup > c->tokens())
      return base::BadInput("{}: \"warmup_tokens\" ({}) is more than the run has ({})", o.Where(),
                            c->rate.warmup, c->tokens());
  }
  return base::OkStatus();
}

base::Status ReadLosses(YamlMap& map, RunConfig* c) {
  std::vector<YamlMap> losses;
  FT_RETURN_IF_ERROR(map.Map("losses", &losses));
  for (YamlMap& l : losses) {
    FT_RETURN_IF_ERROR(l.Points("balance", -1e6, 1e6, &c->balance.points));
    FT_RETURN_IF_ERROR(l.Points("entropy", -1e6, 1e6, &c->entropy.points));
    FT_RETURN_IF_ERROR(l.Points("polarise", -1e6, 1e6, &c->polarise.points));
    if (l.Has("distill") && c->teacher.empty())
      return base::BadInput("{}: \"distill\" needs a \"teacher\"", l.Where());
    FT_RETURN_IF_ERROR(l.Points("distill", 0.0, 1e6, &c->distill.points));
    FT_RETURN_IF_ERROR(l.Number("temperature", 1e-3, 1e3, &c->losses.temperature));
    FT_RETURN_IF_ERROR(l.Number("gate_target", 0.0, 1.0, &c->losses.gate_target));
    FT_RETURN_IF_ERROR(l.Number("gate_margin", 0.0, 0.5, &c->losses.gate_margin));
    FT_RETURN_IF_ERROR(l.Bool("per_channel", &c->losses.per_channel));
    FT_RETURN_IF_ERROR(l.RefuseUnknown());
  }
  return base::OkStatus();
}

}  // namespace

int64_t RunConfig::steps() const {
  int64_t steps = 0;
  for (const Stage& stage : stages) steps += stage.steps();
  return steps;
}

int64_t RunConfig::tokens() const {
  int64_t tokens = 0;
  for (const Stage& stage : stages) tokens += stage.steps() * stage.batch;
  return tokens;
}

base::Result<RunConfig> ReadRunConfig(std::string_view text, const std::string& name) {
  FT_ASSIGN_OR_RETURN(YamlMap map, YamlMap::Parse(text, name));
  RunConfig c;
  int64_t seed = 0;
  std::string dtype = "f32";
  FT_RETURN_IF_ERROR(map.Text("model", &c.model));
  FT_RETURN_IF_ERROR(map.Integer("seed", 0, INT64_MAX, &seed));
  FT_RETURN_IF_ERROR(map.Choice("dtype", {"f32", "bf16"}, &dtype));
  FT_RETURN_IF_ERROR(map.Integer("slots", 1, 1 << 16, &c.slots));
  FT_RETURN_IF_ERROR(map.Bool("recompute", &c.recompute));
  FT_RETURN_IF_ERROR(map.Text("teacher", &c.teacher));
  c.seed = static_cast<uint64_t>(seed);
  c.bf16 = dtype == "bf16";
  if (c.model.empty()) return base::BadInput("{}: \"model\" is missing", name);
  FT_RETURN_IF_ERROR(ReadData(map, &c));
  FT_RETURN_IF_ERROR(ReadStages(map, &c));
  for (data::RecallOptions& task : c.recall) task.length = static_cast<int32_t>(c.stages[0].length);
  FT_RETURN_IF_ERROR(ReadOptimizer(map, &c));
  FT_RETURN_IF_ERROR(ReadLosses(map, &c));
  if (!c.teacher.empty() && c.distill.points == Schedule().points)
    return base::BadInput("{}: \"teacher\" needs a factor, \"losses.distill\"", name);
  FT_RETURN_IF_ERROR(map.Integer("checkpoint_every", 0, kMany, &c.checkpoint_every));
  FT_RETURN_IF_ERROR(map.Integer("keep", 1, 1000000, &c.keep));
  FT_RETURN_IF_ERROR(map.Integer("evaluate_every", 0, kMany, &c.evaluate_every));
  FT_RETURN_IF_ERROR(map.Integer("evaluate_tokens", 1, kMany, &c.evaluate_tokens));
  FT_RETURN_IF_ERROR(map.Integer("log_every", 1, kMany, &c.log_every));
  FT_RETURN_IF_ERROR(map.RefuseUnknown());
  c.model = Find(name, c.model);
  if (!c.teacher.empty()) c.teacher = Find(name, c.teacher);
  for (DataSource& source : c.data) source.path = Find(name, source.path);
  return c;
}

base::Result<std::vector<std::string>> ConfigDifferences(std::string_view before, std::string_view after) {
  FT_RETURN_IF_ERROR(ReadRunConfig(before, "the run's config").status());  // which also bounds its size
  FT_ASSIGN_OR_RETURN(const YamlMap old_map, YamlMap::Parse(before, "the run's config"));
  FT_ASSIGN_OR_RETURN(const YamlMap new_map, YamlMap::Parse(after, "the config"));
  std::map<std::string, std::string> leaves[2];
  leaves[0] = old_map.Leaves();
  leaves[1] = new_map.Leaves();
  for (auto& map : leaves)
    for (const char* free :
         {"checkpoint_every", "keep", "evaluate_every", "evaluate_tokens", "log_every", "recompute"})
      map.erase(free);
  std::vector<std::string> differences;
  for (const auto& [key, value] : leaves[0]) {
    const auto now = leaves[1].find(key);
    if (now == leaves[1].end()) {
      differences.push_back(fmt::format("{}: {} -> nothing", key, value));
    } else if (now->second != value) {
      differences.push_back(fmt::format("{}: {} -> {}", key, value, now->second));
    }
  }
  for (const auto& [key, value] : leaves[1])
    if (!leaves[0].count(key)) differences.push_back(fmt::format("{}: nothing -> {}", key, value));
  return differences;
}

}  // namespace fusiontree::train
