#include "cli/train_log.h"

#include <unistd.h>

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
  add(report::kLearningRate, step.learning_rate);
  add(report::kGradientNorm, step.gradient_norm);
  add(report::kTokensPerSecond, speed.tokens_per_second);
  add(report::kMfu, speed.mfu);
  add(report::kMemoryBytes, speed.memory_bytes);
  FT_RETURN_IF_ERROR(Write(record));
  for (const train::GateStatistics& g : step.gates) {
    const report::GatesRecord gates{step.step,
                                    static_cast<int>(g.layer),
                                    g.mean(),
                                    g.deviation(),
                                    {std::begin(g.bins), std::end(g.bins)}};
    FT_RETURN_IF_ERROR(log_.Append(report::ToRecord(gates)));
    const std::string tag = fmt::format("gate/layer_{:02}", g.layer);
    events_.AddScalar(tag, step.step, Now(), g.mean());
    events_.AddHistogram(tag, step.step, Now(),
                         report::EqualBins(gates.histogram, 0.0, 1.0, g.mean(), g.deviation()));
  }
  return events_.Flush();
}

base::Status TrainLog::HeldOut(int64_t step, int64_t tokens, const train::HeldOut& held_out) {
  report::Record record;
  record.step = step;
  record.tokens = tokens;
  record.numbers.emplace_back(report::kHeldOutBitsPerByte, held_out.bits_per_byte());
  FT_RETURN_IF_ERROR(Write(record));
  return events_.Flush();
}

}  // namespace fusiontree::cli
