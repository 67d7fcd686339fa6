// What a training run leaves to look at: RUN/metrics.jsonl and RUN/tensorboard.
#ifndef FUSIONTREE_CLI_TRAIN_LOG_H_
#define FUSIONTREE_CLI_TRAIN_LOG_H_

#include <optional>
#include <string>

#include "report/run_log.h"
#include "report/tensorboard.h"
#include "train/trainer.h"

namespace fusiontree::cli {

class TrainLog {
 public:
  // Goes on after `step` (0: from the beginning); what an earlier run wrote of later steps is dropped.
  static base::Result<TrainLog> Open(const std::string& run, int64_t step);

  struct Speed {
    double tokens_per_second = 0.0, mfu = 0.0, memory_bytes = 0.0;
  };
  base::Status Step(const train::StepReport& step, const Speed& speed);
  base::Status HeldOut(int64_t step, int64_t tokens, const train::HeldOut& held_out);
  // To the disk: before a checkpoint, which counts on the lines so far.
  base::Status Sync() { return log_.Sync(); }
  base::Status Recall(int64_t step, int64_t tokens, const train::RecallScore& score);

 private:
  TrainLog(report::RunLog log, report::EventFile events) : log_(std::move(log)), events_(std::move(events)) {}
  base::Status Write(const report::Record& record);
  base::Status Evaluation(int64_t step, int64_t tokens, std::string_view name, double value,
                          const std::vector<train::GateStatistics>& gates);
  base::Status Gates(int64_t step, const std::vector<train::GateStatistics>& layers, std::string_view kind);
  // How the means of a layer's channels are spread.
  void AddChannels(int64_t step, const std::string& tag, const report::GatesRecord& gates);

  report::RunLog log_;
  report::EventFile events_;
};

}  // namespace fusiontree::cli

#endif  // FUSIONTREE_CLI_TRAIN_LOG_H_
