#include "verify/verify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "engine/forced_run.h"
#include "verify/oracle.h"
#include "verify/recorder.h"
#include "verify/setup.h"

namespace fusiontree::verify {
namespace {

using base::OkStatus;
using base::Result;
using base::Status;

// Row r of the walk as (text, position in it).
std::pair<int64_t, int64_t> PlaceOfRow(const std::vector<std::vector<int32_t>>& texts, int64_t row) {
  int64_t text = 0;
  while (row >= static_cast<int64_t>(texts[static_cast<size_t>(text)].size()))
    row -= static_cast<int64_t>(texts[static_cast<size_t>(text++)].size());
  return {text, row};
}

double RootMeanSquare(const Rows& x) {
  double sum = 0;
  for (const double v : x.values) sum += v * v;
  return std::sqrt(sum / static_cast<double>(std::max<size_t>(1, x.values.size())));
}
double Deviation(const Rows& x) {
  double sum = 0, squares = 0;
  for (const double v : x.values) sum += v, squares += v * v;
  const double n = static_cast<double>(std::max<size_t>(1, x.values.size()));
  return std::sqrt(std::max(0.0, squares / n - sum / n * sum / n));
}
double LargestDifference(const Rows& a, const Rows& b) {
  double largest = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const double error = std::fabs(a.values[i] - b.values[i]);
    if (!(error <= largest)) largest = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  return largest;
}

// The element whose error is largest relative to its bound.
OperationReport Compare(const OracleStep& step, const Rows& engine,
                        const std::vector<std::vector<int32_t>>& texts) {
  OperationReport out;
  out.op = step.op;
  out.layer = step.layer;
  const Rows &value = step.local->value, &bound = step.local->bound;
  double worst = -1;
  size_t at = 0;
  for (size_t i = 0; i < engine.values.size(); ++i) {
    const double error = std::fabs(engine.values[i] - value.values[i]);
    double ratio = error <= bound.values[i] ? (bound.values[i] > 0 ? error / bound.values[i] : 0.0)
                                            : 1.0 + error / (bound.values[i] + 1e-300);
    if (std::isnan(error)) ratio = std::numeric_limits<double>::infinity();
    if (ratio > worst) worst = ratio, at = i;
  }
  if (!engine.values.empty()) {
    out.max_error = std::fabs(engine.values[at] - value.values[at]);
    if (std::isnan(out.max_error)) out.max_error = std::numeric_limits<double>::infinity();
    out.bound = bound.values[at];
    out.ok = worst <= 1.0;
    const int64_t index = static_cast<int64_t>(at);
    out.column = index % engine.columns;
    std::tie(out.sequence, out.position) = PlaceOfRow(texts, index / engine.columns);
  }
  const double scale = RootMeanSquare(step.truth);
  out.end_to_end_error = LargestDifference(engine, step.truth) / (scale > 0 ? scale : 1.0);
  return out;
}

Precision PrecisionOf(models::ComputeType compute, const models::Model& model) {
  Precision out;
  if (compute == models::ComputeType::kF32) out.products = Precision::Products::kF32;
  if (compute == models::ComputeType::kBf16) out.products = Precision::Products::kBf16;
  out.bf16_cache = model.CacheTypeName() == "bf16";
  return out;
}

Status RunEngine(Setup* setup, const std::vector<std::vector<int32_t>>& texts, int64_t chunk,
                 Recorder* recorder) {
  engine::ForcedOptions options;
  options.together = chunk == 0;
  options.chunk = chunk;
  if (chunk == 0)
    for (const std::vector<int32_t>& text : texts)
      options.chunk = std::max(options.chunk, static_cast<int64_t>(text.size()));
  setup->context().set_probe(recorder);
  const Status status = engine::ForcedRun(setup->context(), setup->model(), texts, options,
                                          [](int64_t, int64_t, const float*) { return OkStatus(); });
  setup->context().set_probe(nullptr);
  return status;
}

}  // namespace

const OperationReport* VerifyReport::FirstDeparture() const {
  for (const OperationReport& operation : operations)
    if (!operation.ok) return &operation;
  return nullptr;
}

Result<VerifyReport> VerifyModel(const std::string& model_path, const VerifyOptions& options) {
  FT_ASSIGN_OR_RETURN(Setup setup, LoadSetup(model_path, options.engine, [&](double part) {
                        if (options.progress) options.progress(0.05 * part, "loading");
                      }));
  return VerifySetup(&setup, options);
}

Result<VerifyReport> VerifySetup(Setup* setup, const VerifyOptions& options) {
  // Loading, the engine's forward and the oracle's take about 5, 5 and 90 parts in a hundred.
  const auto progress = [&](double fraction, const std::string& what) {
    if (options.progress) options.progress(fraction, what);
  };
  const models::Config& config = setup->model().config();
  std::vector<std::vector<int32_t>> texts = options.sequences;
  if (texts.empty()) {
    const int64_t most = config.max_positions;
    texts = RandomTexts(options.seed, {std::min<int64_t>(80, most), std::min<int64_t>(16, most)},
                        config.vocab_size);
  }
  if (options.chunk < 0) return base::BadInput("chunk: expected 0 or more, got {}", options.chunk);

  progress(0.05, "engine");
  Recorder recorder;
  FT_RETURN_IF_ERROR(RunEngine(setup, texts, options.chunk, &recorder));

  std::optional<checkpoint::Checkpoint> reference;
  if (!options.reference.empty()) {
    FT_ASSIGN_OR_RETURN(reference, checkpoint::Checkpoint::Open(options.reference));
  }
  FT_ASSIGN_OR_RETURN(const std::unique_ptr<Oracle> oracle,
                      Oracle::Open(reference ? &*reference : &setup->checkpoint(), setup->used.threads));
  VerifyReport report;
  report.engine = setup->used;
  report.texts = static_cast<int64_t>(texts.size());
  for (const std::vector<int32_t>& text : texts) report.positions += static_cast<int64_t>(text.size());
  report.config_differences = oracle->Differences(config);

  // The walk asks for the engine's value and then reports the step, so the last one asked for is compared.
  Rows engine;
  const EngineValues values = [&](int layer, std::string_view op) -> Result<Rows> {
    FT_ASSIGN_OR_RETURN(engine, recorder.Take(layer, op));
    return engine;
  };
  const double layers = static_cast<double>(oracle->sizes().layers);
  const Status walked =
      oracle->Walk(texts, values, PrecisionOf(setup->compute, setup->model()), [&](const OracleStep& step) {
        report.operations.push_back(Compare(step, engine, texts));
        if (step.op == "logits") {
          const double deviation = Deviation(step.truth);
          report.logits_error = LargestDifference(engine, step.truth) / (deviation > 0 ? deviation : 1.0);
        }
        if (step.op == oracle->layer_output()) progress(0.1 + 0.7 * (step.layer + 1) / layers, "oracle");
        return OkStatus();
      });
  // Of another model there are other operations: then the difference is the reason.
  std::string differences;
  for (const std::string& difference : report.config_differences) differences += "; " + difference;
  if (!walked.ok()) return differences.empty() ? walked : base::Failed("{}{}", walked.message(), differences);
  const std::vector<std::string> left = recorder.Left();
  if (!left.empty())
    return base::Failed("{}: the engine reports an operation that the oracle does not know{}", left[0],
                        differences);
  progress(1.0, "done");
  return report;
}

}  // namespace fusiontree::verify
