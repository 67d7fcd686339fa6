// The engine against another framework's dump.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/forced_run.h"
#include "verify/dump.h"
#include "verify/recorder.h"
#include "verify/setup.h"
#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

using base::BadInput;
using base::OkStatus;
using base::Result;
using base::Status;

LayerError Compare(const std::string& name, const std::string& meaning, const std::vector<float>& dump,
                   const Rows& engine, double tolerance) {
  LayerError out{name, meaning};
  const double n = static_cast<double>(dump.size());
  double sum = 0, squares = 0, errors = 0;
  for (size_t i = 0; i < dump.size(); ++i) {
    const double expected = static_cast<double>(dump[i]);
    sum += expected, squares += expected * expected;
    double error = std::fabs(engine.values[i] - expected);
    if (std::isnan(error)) error = std::numeric_limits<double>::infinity();
    errors += error * error;
    if (error > out.max_error) {
      out.max_error = error;
      out.position = static_cast<int64_t>(i) / engine.columns;
      out.column = static_cast<int64_t>(i) % engine.columns;
    }
  }
  const double deviation = std::sqrt(std::max(0.0, squares / n - sum / n * sum / n));
  const double unit = deviation > 0 ? deviation : 1.0;
  out.max_error /= unit;
  out.rms_error = std::sqrt(errors / n) / unit;
  out.ok = out.max_error <= tolerance;
  return out;
}

// The engine's value that hidden_k names: "embed", the stream after layer k - 1, "final_norm".
std::pair<int, std::string> ProbeOfHidden(int64_t k, const models::Model& model) {
  const int64_t layers = model.config().num_layers;
  if (k == 0) return {-1, "embed"};
  if (k == layers) return {-1, "final_norm"};
  return {static_cast<int>(k - 1), std::string(model.layer_output())};
}
std::string Meaning(int64_t k, int64_t layers) {
  if (k == layers) return "after the final norm";
  return k == 0 ? "the embedding" : fmt::format("entering layer {}", k);
}

Status CheckShapes(const Dump& dump, const models::Config& config, const std::string& path) {
  if (dump.vocab_size != config.vocab_size)
    return BadInput("{}: logits of {} tokens, but the model has {}", path, dump.vocab_size,
                    config.vocab_size);
  if (dump.hidden.empty()) return OkStatus();
  if (static_cast<int64_t>(dump.hidden.size()) != config.num_layers + 1)
    return BadInput("{}: {} hidden states, expected {} (one entering each layer, one after the final norm)",
                    path, dump.hidden.size(), config.num_layers + 1);
  for (size_t k = 0; k < dump.hidden.size(); ++k)
    if (dump.hidden[k].size() != dump.ids.size() * static_cast<size_t>(config.hidden_size))
      return BadInput("{}: hidden_{} has {} values, expected [{}, {}]", path, k, dump.hidden[k].size(),
                      dump.ids.size(), config.hidden_size);
  return OkStatus();
}

int64_t SameChoices(const Rows& engine, const std::vector<float>& dump) {
  int64_t same = 0;
  for (int64_t r = 0; r < engine.rows; ++r) {
    const double* ours = engine.row(r);
    const float* theirs = dump.data() + r * engine.columns;
    same += std::max_element(ours, ours + engine.columns) - ours ==
            std::max_element(theirs, theirs + engine.columns) - theirs;
  }
  return same;
}

Status CompareDump(Setup* setup, const Dump& dump, const std::string& suffix, double tolerance,
                   AgainstReport* report) {
  const models::Config& config = setup->model().config();
  const int64_t layers = config.num_layers;
  const bool hidden = !dump.hidden.empty();
  Recorder recorder([&](int, std::string_view op) {
    return op == "logits" ||
           (hidden && (op == "embed" || op == setup->model().layer_output() || op == "final_norm"));
  });
  engine::ForcedOptions options;
  options.chunk = static_cast<int64_t>(dump.ids.size());
  setup->context().set_probe(&recorder);
  const Status status = engine::ForcedRun(setup->context(), setup->model(), {dump.ids}, options,
                                          [](int64_t, int64_t, const float*) { return OkStatus(); });
  setup->context().set_probe(nullptr);
  FT_RETURN_IF_ERROR(status);
  for (int64_t k = 0; hidden && k <= layers; ++k) {
    const auto [layer, op] = ProbeOfHidden(k, setup->model());
    FT_ASSIGN_OR_RETURN(const Rows engine, recorder.Take(layer, op));
    report->layers.push_back(Compare(fmt::format("hidden{}_{}", suffix, k), Meaning(k, layers),
                                     dump.hidden[static_cast<size_t>(k)], engine, tolerance));
  }
  FT_ASSIGN_OR_RETURN(const Rows engine, recorder.Take(-1, "logits"));
  report->layers.push_back(Compare("logits" + suffix, "the logits", dump.logits, engine, tolerance));
  report->texts += 1;
  report->positions += engine.rows;
  report->same_choice += SameChoices(engine, dump.logits);
  return OkStatus();
}

}  // namespace

const LayerError* AgainstReport::FirstDeparture() const {
  for (const LayerError& layer : layers)
    if (!layer.ok) return &layer;
  return nullptr;
}

Result<AgainstReport> VerifyAgainst(const std::string& model_path, const std::string& dump_path,
                                    const AgainstOptions& options) {
  if (!(options.tolerance >= 0)) return BadInput("tolerance: expected 0 or more, got {}", options.tolerance);
  FT_ASSIGN_OR_RETURN(const std::vector<Dump> dumps, ReadDumps(dump_path));
  FT_ASSIGN_OR_RETURN(Setup setup, LoadSetup(model_path, options.engine, [&](double part) {
                        if (options.progress) options.progress(0.5 * part, "loading");
                      }));
  AgainstReport report;
  report.engine = setup.used;
  report.dump = dump_path;
  const bool fp32 = setup.used.type.find("f32") != std::string::npos && setup.used.kv == "f32";
  report.tolerance = options.tolerance > 0 ? options.tolerance : fp32 ? 1e-4 : 0.1;
  for (const Dump& dump : dumps) FT_RETURN_IF_ERROR(CheckShapes(dump, setup.model().config(), dump_path));
  for (size_t i = 0; i < dumps.size(); ++i) {
    FT_RETURN_IF_ERROR(CompareDump(&setup, dumps[i], dumps.size() > 1 ? fmt::format("_{}", i) : "",
                                   report.tolerance, &report));
    if (options.progress)
      options.progress(0.5 + 0.5 * static_cast<double>(i + 1) / static_cast<double>(dumps.size()),
                       "comparing");
  }
  return report;
}

}  // namespace fusiontree::verify
