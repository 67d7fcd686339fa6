// metrics.jsonl of a training run: one JSON object a line, written as the run goes, read for plots and tests.
//   {"step": 120, "tokens": 983040, "loss": 3.71, "lm": 3.69, "learning_rate": 0.0006}
//   {"kind": "gates", "step": 120, "layer": 3, "mean": 0.52, "deviation": 0.11, "histogram": [0, 14, ...]}
#ifndef FUSIONTREE_REPORT_RUN_LOG_H_
#define FUSIONTREE_REPORT_RUN_LOG_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fusiontree::report {

constexpr std::string_view kMetricsFile = "metrics.jsonl";  // in the run's folder

// Names of the numbers that plots know.
constexpr std::string_view kLoss = "loss";  // the total that is minimised
constexpr std::string_view kLm = "lm";      // the terms, before their coefficients
constexpr std::string_view kBalance = "balance";
constexpr std::string_view kEntropy = "entropy";
constexpr std::string_view kPolarise = "polarise";
constexpr std::string_view kDistill = "distill";
constexpr std::string_view kLearningRate = "learning_rate";
constexpr std::string_view kGradientNorm = "gradient_norm";  // before clipping
constexpr std::string_view kTokensPerSecond = "tokens_per_second";
constexpr std::string_view kMfu = "mfu";  // share of the machine's peak, 0 to 1
constexpr std::string_view kMemoryBytes = "memory_bytes";
constexpr std::string_view kHeldOutBitsPerByte = "held_out_bits_per_byte";
constexpr std::string_view kRecallAccuracy = "recall_accuracy";  // 0 to 1

// Of the records of kind "gates".
constexpr std::string_view kGates = "gates";
constexpr std::string_view kHeldOutGates = "held_out_gates";  // the same, in evaluation mode
constexpr std::string_view kLayer = "layer";
constexpr std::string_view kMean = "mean";
constexpr std::string_view kDeviation = "deviation";
constexpr std::string_view kHistogram = "histogram";
constexpr std::string_view kChannels = "channels";
constexpr int kGateBins = 16;  // equal, over 0 to 1
constexpr int kMaxLayers = 1000;

// One line. `kind` is empty for the metrics of a step. Names are unique in a record; numbers that are not
// finite become null in the file and NaN when read.
struct Record {
  std::string kind;
  int64_t step = 0;
  std::optional<int64_t> tokens;  // seen by the end of the step
  std::vector<std::pair<std::string, double>> numbers;
  std::vector<std::pair<std::string, std::vector<double>>> lists;
  std::vector<std::pair<std::string, std::string>> texts;

  // nullptr when there is none.
  const double* Number(std::string_view name) const;
  const std::vector<double>* List(std::string_view name) const;
  const std::string* Text(std::string_view name) const;
};

struct GatesRecord {
  int64_t step = 0;
  int layer = 0;
  double mean = 0, deviation = 0;  // over tokens and channels
  std::vector<double> histogram;   // [kGateBins] counts
  // Only written: means of channels, and of tokens by class and by position, with their names.
  std::vector<double> channels;
  std::vector<std::pair<std::string, double>> parts;
};
Record ToRecord(const GatesRecord& gates, std::string_view kind = kGates);
// An error that names what is missing or out of range.
base::Result<GatesRecord> ToGates(const Record& record);

// Appends to the file of one run. Each record is one write of one line: a reader, and a run that was killed,
// lose at most the last.
class RunLog {
 public:
  // A new file; an error if `path` exists.
  static base::Result<RunLog> Create(const std::string& path);
  // Goes on after `step`: lines of later steps are dropped, and a last line that was not finished. Before the
  // first new line the file holds what the resumed run knows, or, if killed in this call, still all of the
  // old one. A missing file is begun.
  static base::Result<RunLog> Resume(const std::string& path, int64_t step);
  RunLog(RunLog&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  RunLog& operator=(RunLog&& other) noexcept;
  ~RunLog();

  // On an error (a full disk) nothing of the line remains in the file.
  base::Status Append(const Record& record);
  // To the disk: before a checkpoint that counts on the lines so far.
  base::Status Sync();

 private:
  RunLog(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::string path_;
  int descriptor_;
};

std::string ToLine(const Record& record);  // with the newline

// Calls `use` with each record of `bytes` in order, until it returns an error, which it then returns too.
// What follows the last newline is a line that was not finished and is left out. Errors begin with "line 3:
// ".
base::Status ParseRunLog(std::string_view bytes, const std::function<base::Status(Record)>& use);

constexpr size_t kMaxRunLogBytes = size_t{2} << 30;
// The same for a file, whose path errors name.
base::Status ReadRunLog(const std::string& path, const std::function<base::Status(Record)>& use);
base::Result<std::vector<Record>> ReadRunLog(const std::string& path);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_RUN_LOG_H_
