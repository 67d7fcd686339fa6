#include "cli/train_log.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

namespace fusiontree::cli {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

base::Result<TrainLog> TrainLog::Open(const std::string& run, int64_t step) {
  const std::string folder = run + "/tensorboard";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return base::Failed("{}: cannot be made: {}", folder, error.message());
  FT_ASSIGN_OR_RETURN(report::RunLog log,
                      report::RunLog::Resume(run + "/" + std::string(report::kMetricsFile), step));
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  FT_ASSIGN_OR_RETURN(report::EventFile events,
                      report::EventFile::Create(folder, static_cast<int64_t>(Now()), host,
                                                step > 0 ? std::optional<int64_t>(step + 1) : std::nullopt));
  return TrainLog(std::move(log), std::move(events));
}

base::Status TrainLog::Write(const report::Record& record) {
  for (const auto& [name, value] : record.numbers) events_.AddScalar(name, record.step, Now(), value);
  return log_.Append(record);
}

base::Status TrainLog::Step(const train::StepReport& step, const Speed& speed) {
  report::Record record;
  record.step = step.step;
  record.tokens = step.tokens;
  const auto add = [&](std::string_view name, double value) { record.numbers.emplace_back(name, value); };
  add(report::kLoss, step.losses.total);
  add(report::kLm, step.losses.lm);
  if (!step.gates.empty()) {
    add(report::kBalance, step.losses.balance);
    add(report::kEntropy, step.losses.entropy);
    add(report::kPolarise, step.losses.polarise);
  }
  if (step.losses.distill != 0.0) add(report::kDistill, step.losses.distill);
  add(report::kLearningRate, step.learning_rate);
  add(report::kGradientNorm, step.gradient_norm);
  add(report::kTokensPerSecond, speed.tokens_per_second);
  add(report::kMfu, speed.mfu);
  add(report::kMemoryBytes, speed.memory_bytes);
  FT_RETURN_IF_ERROR(Write(record));
  FT_RETURN_IF_ERROR(Gates(step.step, step.gates, report::kGates));
  return events_.Flush();
}

base::Status TrainLog::Evaluation(int64_t step, int64_t tokens, std::string_view name, double value,
                                  const std::vector<train::GateStatistics>& gates) {
  report::Record record;
  record.step = step;
  record.tokens = tokens;
  record.numbers.emplace_back(name, value);
  FT_RETURN_IF_ERROR(Write(record));
  FT_RETURN_IF_ERROR(Gates(step, gates, report::kHeldOutGates));
  return events_.Flush();
}

base::Status TrainLog::HeldOut(int64_t step, int64_t tokens, const train::HeldOut& held_out) {
  return Evaluation(step, tokens, report::kHeldOutBitsPerByte, held_out.bits_per_byte(), held_out.gates);
}

base::Status TrainLog::Recall(int64_t step, int64_t tokens, const train::RecallScore& score) {
  return Evaluation(step, tokens, report::kRecallAccuracy, score.accuracy(), {});
}

base::Status TrainLog::Gates(int64_t step, const std::vector<train::GateStatistics>& layers,
                             std::string_view kind) {
  for (const train::GateStatistics& g : layers) {
    report::GatesRecord gates{
        step, static_cast<int>(g.layer), g.mean(), g.deviation(), {g.bins.begin(), g.bins.end()}, {}, {}};
    for (size_t i = 0; i < g.channels.size(); ++i) gates.channels.push_back(g.ChannelMean(i));
    for (size_t i = 0; i < g.classes.size(); ++i)
      if (g.classes[i].count > 0.0)
        gates.parts.emplace_back(fmt::format("class_{}", train::NameOf(static_cast<train::TokenClass>(i))),
                                 g.classes[i].mean());
    for (size_t i = 0; i < g.positions.size(); ++i)
      if (g.positions[i].count > 0.0)
        gates.parts.emplace_back(fmt::format("position_{}", (int64_t{1} << i) - 1), g.positions[i].mean());
    FT_RETURN_IF_ERROR(log_.Append(report::ToRecord(gates, kind)));
    const std::string tag = fmt::format("{}/layer_{:02}", kind, g.layer);
    events_.AddScalar(tag, step, Now(), g.mean());
    events_.AddHistogram(tag, step, Now(),
                         report::EqualBins(gates.histogram, 0.0, 1.0, g.mean(), g.deviation()));
    for (const auto& [part, mean] : gates.parts)
      events_.AddScalar(fmt::format("{}_{}/layer_{:02}", kind, part, g.layer), step, Now(), mean);
    if (g.channels.size() > 1)
      AddChannels(step, fmt::format("{}_channels/layer_{:02}", kind, g.layer), gates);
  }
  return base::OkStatus();
}

void TrainLog::AddChannels(int64_t step, const std::string& tag, const report::GatesRecord& gates) {
  std::vector<double> counts(report::kGateBins);
  double squares = 0.0;
  for (const double mean : gates.channels) {
    const double at = mean * report::kGateBins;
    counts[std::min<size_t>(static_cast<size_t>(std::max(0.0, at)), counts.size() - 1)] += 1.0;
    squares += (mean - gates.mean) * (mean - gates.mean);
  }
  const double deviation = __builtin_sqrt(squares / static_cast<double>(gates.channels.size()));
  events_.AddHistogram(tag, step, Now(), report::EqualBins(counts, 0.0, 1.0, gates.mean, deviation));
}

}  // namespace fusiontree::cli
