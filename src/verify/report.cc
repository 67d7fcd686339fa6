// The reports as text for people and as JSON for programs.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "verify/verify.h"

namespace fusiontree::verify {
namespace {

using nlohmann::ordered_json;

ordered_json ToJson(const EngineUsed& used) {
  return {{"model", used.model}, {"family", used.family},   {"isa", used.isa},    {"type", used.type},
          {"kv", used.kv},       {"threads", used.threads}, {"ranks", used.ranks}};
}
// JSON has no infinity.
ordered_json Number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json("inf"); }

std::string Engine(const EngineUsed& used) {
  return fmt::format("{} ({}), {} on {}, cache {}, {}{} thread{}\n", used.model, used.family, used.type,
                     used.isa, used.kv, used.ranks == 1 ? "" : fmt::format("{} ranks, ", used.ranks),
                     used.threads, used.threads == 1 ? "" : "s");
}
std::string LayerName(int layer) { return layer < 0 ? "-" : fmt::format("{}", layer); }
std::string Plural(int64_t n, const char* noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

std::string Row(const OperationReport& r) {
  return fmt::format("{:>5}  {:<11} {:>11.3e} {:>11.3e} {:>11.3e}  {}\n", LayerName(r.layer), r.op,
                     r.max_error, r.bound, r.end_to_end_error, r.ok ? "ok" : "DEPARTS");
}

// The worst of each kind, relative to its bound, in the order of the forward.
std::vector<const OperationReport*> WorstOfEachKind(const VerifyReport& report) {
  std::vector<const OperationReport*> out;
  std::map<std::string, size_t> place;
  const auto ratio = [](const OperationReport& r) {
    return r.bound > 0 ? r.max_error / r.bound : r.max_error * 1e300;
  };
  for (const OperationReport& r : report.operations) {
    const auto [it, fresh] = place.try_emplace(r.op, out.size());
    if (fresh)
      out.push_back(&r);
    else if (ratio(r) > ratio(*out[it->second]))
      out[it->second] = &r;
  }
  return out;
}

}  // namespace

std::string Table(const VerifyReport& report, bool all) {
  std::string out = Engine(report.engine);
  out += fmt::format(
      "{} of {} against double precision; an error is that of one operation given the engine's own input\n",
      Plural(report.texts, "text"), Plural(report.positions, "position"));
  for (const std::string& difference : report.config_differences)
    out += fmt::format("CONFIG  {}\n", difference);
  out += fmt::format("{:>5}  {:<11} {:>11} {:>11} {:>11}\n", "layer", "operation", "error", "bound",
                     "end to end");
  if (all) {
    for (const OperationReport& r : report.operations) out += Row(r);
  } else {
    for (const OperationReport* r : WorstOfEachKind(report)) out += Row(*r);
    out += "(the worst layer of each operation)\n";
  }
  out += fmt::format("end to end, the logits are within {:.2e} of their standard deviation\n",
                     report.logits_error);
  const OperationReport* first = report.FirstDeparture();
  if (first)
    out += fmt::format(
        "FIRST DEPARTURE: layer {}, {}: error {:.3e}, bound {:.3e} (text {}, position {}, column {}); {} of "
        "{} "
        "operations depart\n",
        LayerName(first->layer), first->op, first->max_error, first->bound, first->sequence, first->position,
        first->column,
        std::count_if(report.operations.begin(), report.operations.end(),
                      [](const auto& r) { return !r.ok; }),
        report.operations.size());
  else
    out += fmt::format("all {} operations are within their bounds\n", report.operations.size());
  return out;
}

std::string Table(const AgainstReport& report) {
  std::string out = Engine(report.engine);
  out += fmt::format(
      "{} of {} against {}; errors in standard deviations of the dump's values, tolerance {:.1e}\n",
      Plural(report.texts, "text"), Plural(report.positions, "position"), report.dump, report.tolerance);
  out += fmt::format("{:<12} {:>11} {:>11}  {}\n", "value", "largest", "rms", "");
  for (const LayerError& r : report.layers)
    out += fmt::format("{:<12} {:>11.3e} {:>11.3e}  {}  {}\n", r.name, r.max_error, r.rms_error,
                       r.ok ? "ok     " : "DEPARTS", r.meaning);
  out += fmt::format("same first choice at {} of {}\n", report.same_choice,
                     Plural(report.positions, "position"));
  const LayerError* first = report.FirstDeparture();
  if (first)
    out += fmt::format("FIRST DEPARTURE: {} ({}): {:.3e} at position {}, column {}\n", first->name,
                       first->meaning, first->max_error, first->position, first->column);
  else
    out += "all within the tolerance\n";
  return out;
}

std::string Table(const InvarianceReport& report) {
  const auto join = [](const std::vector<std::string>& parts) {
    std::string out;
    for (const std::string& part : parts) out += (out.empty() ? "" : ", ") + part;
    return out;
  };
  std::string out = fmt::format("{} ({}), {} of {}, logits of {} tokens each, compared by memcmp\n",
                                report.model, report.family, Plural(report.texts, "text"),
                                Plural(report.positions, "position"), report.vocab_size);
  out += fmt::format("ranks {{{}}}; threads {{{}}}; batch {{{}}}; prefill {{{}}}\n", join(report.ranks),
                     join(report.threads), join(report.batches), join(report.chunks));
  out += fmt::format("{:<11} {:<12} {:<6} {:>10} {:>12} {:>10} {:>10}\n", "isa", "type", "cache",
                     "conditions", "comparisons", "rows off", "bits off");
  int64_t comparisons = 0, bits = 0;
  for (const InvarianceCombination& c : report.combinations) {
    out += fmt::format("{:<11} {:<12} {:<6} {:>10} {:>12} {:>10} {:>10}\n", c.isa, c.type, c.kv,
                       c.conditions + 1, c.comparisons, c.differing_rows, c.differing_bits);
    if (!c.first_difference.empty()) out += fmt::format("  FIRST DIFFERENCE: {}\n", c.first_difference);
    comparisons += c.comparisons;
    bits += c.differing_bits;
  }
  for (const std::string& skipped : report.skipped) out += fmt::format("not run: {}\n", skipped);
  out += fmt::format("{} rows of logits compared, {} differing bits{}\n", comparisons, bits,
                     comparisons == 0 ? ": nothing was compared, so nothing is shown" : "");
  return out;
}

std::string Json(const VerifyReport& report) {
  ordered_json out = {{"ok", report.ok()},
                      {"engine", ToJson(report.engine)},
                      {"texts", report.texts},
                      {"positions", report.positions},
                      {"logits_error", Number(report.logits_error)},
                      {"config_differences", report.config_differences}};
  const auto one = [](const OperationReport& r) {
    return ordered_json{{"op", r.op},
                        {"layer", r.layer},
                        {"max_error", Number(r.max_error)},
                        {"bound", Number(r.bound)},
                        {"end_to_end_error", Number(r.end_to_end_error)},
                        {"ok", r.ok},
                        {"sequence", r.sequence},
                        {"position", r.position},
                        {"column", r.column}};
  };
  const OperationReport* first = report.FirstDeparture();
  out["first_departure"] = first ? one(*first) : ordered_json(nullptr);
  out["operations"] = ordered_json::array();
  for (const OperationReport& r : report.operations) out["operations"].push_back(one(r));
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

std::string Json(const AgainstReport& report) {
  ordered_json out = {{"ok", report.ok()},
                      {"engine", ToJson(report.engine)},
                      {"dump", report.dump},
                      {"tolerance", report.tolerance},
                      {"texts", report.texts},
                      {"positions", report.positions},
                      {"same_choice", report.same_choice}};
  const LayerError* first = report.FirstDeparture();
  out["first_departure"] = first ? ordered_json(first->name) : ordered_json(nullptr);
  out["layers"] = ordered_json::array();
  for (const LayerError& r : report.layers)
    out["layers"].push_back({{"name", r.name},
                             {"meaning", r.meaning},
                             {"max_error", Number(r.max_error)},
                             {"rms_error", Number(r.rms_error)},
                             {"position", r.position},
                             {"column", r.column},
                             {"ok", r.ok}});
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

std::string Json(const InvarianceReport& report) {
  ordered_json out = {
      {"ok", report.ok()},       {"model", report.model},         {"family", report.family},
      {"texts", report.texts},   {"positions", report.positions}, {"vocab_size", report.vocab_size},
      {"ranks", report.ranks},   {"threads", report.threads},     {"batches", report.batches},
      {"chunks", report.chunks}, {"skipped", report.skipped}};
  out["combinations"] = ordered_json::array();
  for (const InvarianceCombination& c : report.combinations)
    out["combinations"].push_back({{"isa", c.isa},
                                   {"type", c.type},
                                   {"kv", c.kv},
                                   {"conditions", c.conditions},
                                   {"comparisons", c.comparisons},
                                   {"differing_rows", c.differing_rows},
                                   {"differing_bits", c.differing_bits},
                                   {"first_difference", c.first_difference}});
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace fusiontree::verify
