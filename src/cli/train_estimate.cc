#include "cli/train_estimate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "bench/limits.h"
#include "cli/files.h"
#include "report/json.h"
#include "report/units.h"
#include "train/estimate.h"
#include "train/run_config.h"

namespace fusiontree::cli {
namespace {

namespace fs = std::filesystem;

// Of rank 0, the same path on all; taken away at the end.
class SharedFolder {
 public:
  SharedFolder(parallel::Communicator* ranks) : first_(ranks == nullptr || ranks->rank() == 0) {
    int64_t process = ::getpid();
    if (ranks) ranks->Broadcast(&process, sizeof(process));
    path_ = fmt::format("{}/fusiontree-dry-run-{}", fs::temp_directory_path().string(), process);
    std::error_code ignored;
    if (first_) fs::create_directories(path_, ignored);
    if (ranks) ranks->Barrier();
  }
  ~SharedFolder() {
    std::error_code ignored;
    if (first_) fs::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  bool first_;
  std::string path_;
};

double ShareOfPeak(const train::StageEstimate& stage, double peak, int ranks) {
  return peak > 0.0 && stage.step_seconds > 0.0 ? stage.step_flops / stage.step_seconds / peak / ranks : 0.0;
}

std::string Text(const train::Estimate& e, double peak, int ranks) {
  std::string text = fmt::format("{} parameters, {} tokens in {} steps\n{} of memory a rank\n",
                                 report::Grouped(e.parameters), report::Grouped(e.tokens),
                                 report::Grouped(e.steps), report::Bytes(e.memory_bytes));
  for (const train::StageEstimate& s : e.stages)
    text += fmt::format("rows of {}: {} steps of {} tokens, {} each, {} tok/s, {:.2f} of the measured peak\n",
                        report::Grouped(s.length), report::Grouped(s.steps), report::Grouped(s.batch),
                        report::Seconds(s.step_seconds),
                        report::Grouped(static_cast<int64_t>(static_cast<double>(s.batch) / s.step_seconds)),
                        ShareOfPeak(s, peak, ranks));
  text += fmt::format("{:.2f} hours in all\n", e.seconds() / 3600.0);
  text += fmt::format("from a step of {} tokens a rank", report::Grouped(e.measured_tokens));
  if (e.measured_layers < e.layers)
    text += fmt::format(" of the model with 1 and with {} of its {} layers: all of them would not fit here",
                        e.measured_layers, e.layers);
  if (!e.missing_data.empty()) text += fmt::format("; {} is not there: random tokens", e.missing_data);
  return text + "\n";
}

std::string Json(const train::Estimate& e, double peak, int ranks) {
  report::Json json;
  json.BeginObject().Key("parameters").Integer(e.parameters);
  json.Key("tokens").Integer(e.tokens).Key("steps").Integer(e.steps);
  json.Key("memory_bytes").Number(e.memory_bytes).Key("seconds").Number(e.seconds());
  json.Key("layers").Integer(e.layers).Key("measured_layers").Integer(e.measured_layers);
  json.Key("measured_tokens").Integer(e.measured_tokens).Key("random_tokens").Bool(!e.missing_data.empty());
  json.Key("stages").BeginArray();
  for (const train::StageEstimate& s : e.stages) {
    json.BeginObject().Key("length").Integer(s.length).Key("batch").Integer(s.batch);
    json.Key("steps").Integer(s.steps).Key("step_seconds").Number(s.step_seconds);
    json.Key("mfu").Number(ShareOfPeak(s, peak, ranks)).EndObject();
  }
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace

base::Status DryRun(const std::string& config_text, const std::string& name, bool as_json,
                    base::ThreadPool* pool, const kernels::Table* table, parallel::Communicator* ranks) {
  const SharedFolder folder(ranks);
  FT_ASSIGN_OR_RETURN(const train::RunConfig config, train::ReadRunConfig(config_text, name));
  const bool first = ranks == nullptr || ranks->rank() == 0;
  if (first) std::fputs("measuring steps\n", stderr);
  const auto limits = bench::MeasureLimits(*pool, size_t{16} << 20);
  const double peak = limits.ok() ? limits->FlopsFor(table->name, config.bf16) : 0.0;
  const auto estimate = train::EstimateRun(config_text, name, {folder.path(), 0.0}, pool, table, ranks);
  if (!estimate.ok()) {
    if (ranks) ranks->Fail(estimate.status());
    return estimate.status();
  }
  if (!first) return base::OkStatus();
  const int count = ranks ? ranks->size() : 1;
  return WriteOutput(as_json ? Json(*estimate, peak, count) : Text(*estimate, peak, count));
}

}  // namespace fusiontree::cli
