// bench: the machine's limits, then what the model makes of them.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/progress.h"
#include "bench/limits.h"
#include "bench/model_bench.h"
#include "cli/bench_ranks.h"
#include "cli/command.h"
#include "cli/files.h"
#include "cli/model_flags.h"
#include "engine/ranks.h"
#include "engine/setup.h"
#include "report/json.h"
#include "report/table.h"
#include "report/units.h"

extern char** environ;

namespace fusiontree::cli {
namespace {

constexpr int64_t kFirstPrompt = 16;  // tokens before the first one is timed
constexpr int kStarts = 3;            // of the process, the quickest counts
constexpr int kBarWidth = 32;

struct FirstToken {
  double seconds = 0;     // from the start of the process
  double peak_bytes = 0;  // resident, at that moment
  double need_bytes = 0;  // weights and the cache of the sequence
};

double PeakResidentBytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::strtod(line.c_str() + 6, nullptr) * 1024;
  return 0;
}

class Bench : public Command {
 public:
  std::string Name() const override { return "bench"; }
  std::string Summary() const override {
    return "speed and memory, each with its ratio to this machine's measured limits";
  }
  std::string Example() const override { return "  fusiontree bench models/SmolLM2-135M-Instruct.Q4_1.gguf"; }

  void Declare(Options& options) override {
    flags_.Declare(options);
    options.Number("--seconds", "at least this long for each measurement (default 1)", 0.01, 3600, &seconds_);
    options.Text("--prefill", "LIST",
                 "prompts of so many tokens, 128,512,2048 for instance; with --decode and --context, only "
                 "what the three name",
                 &prefills_);
    options.Text("--decode", "LIST", "so many sequences at once, 1,4,16,32 for instance", &batches_);
    options.Text("--context", "LIST", "one sequence after so many tokens, 1000,128000 for instance",
                 &contexts_);
    options.Flag("--no-limits", "only the model: neither the machine's limits nor the start of a process",
                 &no_limits_);
    options.Flag("--first-token",
                 "only load, run a prompt of 16 tokens, print the first token, the peak of resident "
                 "memory and what the model needs (what bench runs to time a start)",
                 &first_token_);
    options.Flag("--json", "everything as JSON", &json_);
  }

  void UseRanks(parallel::Communicator* communicator) override { flags_.communicator = communicator; }

  base::Status Run() override {
    if (first_token_) return RunFirstToken();
    bench::Plan plan;
    FT_RETURN_IF_ERROR(ChoosePlan(&plan));
    // A start under mpirun is mpirun's: only a process of one rank is timed.
    FirstToken first;
    base::Progress starting("starting");
    for (int i = 0; i < kStarts && flags_.communicator == nullptr && !no_limits_; ++i) {
      FT_ASSIGN_OR_RETURN(const FirstToken start, TimeStart());
      if (i == 0 || start.seconds < first.seconds) first = start;
      starting.Update((i + 1.0) / kStarts);
    }
    starting.Finish();
    FT_ASSIGN_OR_RETURN(bench::Limits limits, MeasureMachine());
    base::Progress loading("loading");
    engine::EngineOptions options = flags_.EngineOptions();
    options.progress = [&loading](double fraction) { loading.Update(fraction); };
    const auto start = std::chrono::steady_clock::now();
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Runtime> runtime,
                        engine::MakeRuntime(flags_.model, options));
    load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    loading.Finish();
    base::Progress measuring("measuring");
    plan.chunk = flags_.chunk;
    plan.seconds = seconds_.value_or(1.0);
    plan.measure_limits = [this] { return MeasureMachine(); };
    plan.progress = [&measuring](double fraction) { measuring.Update(fraction); };
    FT_ASSIGN_OR_RETURN(const std::vector<bench::Measurement> results,
                        bench::MeasureModel(*runtime->context, *runtime->model, plan, &limits));
    if (flags_.communicator) {
      FT_ASSIGN_OR_RETURN(exchange_, ExchangeOnRanks(*flags_.communicator));
    }
    measuring.Finish();
    return WriteOutput(json_ ? AsJson(*runtime, limits, results, first)
                             : AsText(*runtime, limits, results, first));
  }

 private:
  base::Status ChoosePlan(bench::Plan* plan) const {
    if (!prefills_ && !batches_ && !contexts_) return base::OkStatus();
    plan->prefills.clear();
    plan->batches.clear();
    if (prefills_) {
      FT_ASSIGN_OR_RETURN(plan->prefills, ParseNumbers("--prefill", *prefills_, 1, 1 << 20));
    }
    if (contexts_) {
      FT_ASSIGN_OR_RETURN(plan->contexts, ParseNumbers("--context", *contexts_, 1, 1 << 24));
    }
    if (batches_) {
      FT_ASSIGN_OR_RETURN(plan->batches, ParseNumbers("--decode", *batches_, 1, 1024));
    }
    return base::OkStatus();
  }

  base::Result<bench::Limits> MeasureMachine() const {
    if (no_limits_) return bench::Limits{};
    if (flags_.communicator == nullptr) {
      FT_ASSIGN_OR_RETURN(const int threads, engine::ChooseThreads(static_cast<int>(flags_.threads)));
      base::ThreadPool pool(threads);
      return bench::MeasureLimits(pool, kBandwidthBytes);
    }
    return LimitsOnRanks(*flags_.communicator, flags_.threads);
  }

  base::Status RunFirstToken() {
    FT_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Engine> engine,
                        engine::Engine::Load(flags_.model, flags_.EngineOptions()));
    engine::Request request;
    const int64_t vocab = engine->summary().vocab_size;
    for (int64_t i = 0; i < kFirstPrompt; ++i)
      request.prompt.push_back(static_cast<int32_t>((7 + 31 * i) % vocab));
    request.sampling.temperature = 0;
    request.max_tokens = 1;
    base::Status status = base::Failed("no token came");
    request.on_token = [&status](int32_t id) {
      status = WriteOutput(fmt::format("{}", id));
      return true;
    };
    request.on_done = [&status](const engine::Completion& completion) {
      if (!completion.status.ok()) status = completion.status;
    };
    FT_RETURN_IF_ERROR(engine->Submit(std::move(request)));
    while (engine->Step()) {
    }
    FT_RETURN_IF_ERROR(status);
    return WriteOutput(fmt::format(" {:.0f} {}\n", PeakResidentBytes(), engine->summary().weight_bytes));
  }

  // Starts this program again with --first-token and waits for the first byte it writes.
  base::Result<FirstToken> TimeStart() const {
    std::vector<std::string> arguments = {"fusiontree", "bench", flags_.model, "--first-token", "--dtype",
                                          flags_.dtype, "--kv",  flags_.kv,    "--isa",         flags_.isa};
    if (flags_.threads > 0) arguments.insert(arguments.end(), {"--threads", std::to_string(flags_.threads)});
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return base::Failed("no pipe for timing a start");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const auto start = std::chrono::steady_clock::now();
    pid_t child = 0;
    const int spawned = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (spawned != 0) {
      close(ends[0]);
      return base::Failed("the program could not start itself to time that");
    }
    FirstToken first;
    std::string text;
    char buffer[256];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
      if (text.empty())
        first.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      text.append(buffer, static_cast<size_t>(n));
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    // The child has said on stderr what is wrong.
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
      return base::Status(WIFEXITED(status) && WEXITSTATUS(status) == 2 ? base::ErrorKind::kBadInput
                                                                        : base::ErrorKind::kFailed,
                          "the model does not run, so there is nothing to measure");
    long long token = 0;
    if (std::sscanf(text.c_str(), "%lld %lf %lf", &token, &first.peak_bytes, &first.need_bytes) != 3)
      return base::Failed("the timed start wrote '{}', which is not what was expected", text);
    return first;
  }

  std::string MachineText(const bench::Limits& limits) const {
    std::string text = fmt::format(
        "{}, {}{} threads\n\n", limits.processor,
        flags_.communicator ? fmt::format("{} ranks, ", flags_.communicator->size()) : "", limits.threads);
    report::Table machine({"limit of this machine", "measured"});
    machine.Row({"memory, read", report::Bytes(limits.bandwidth) + "/s"});
    for (const bench::Peak& peak : limits.peaks)
      machine.Row({peak.name, peak.missing.empty() ? report::Count(peak.flops) + "FLOP/s" : peak.missing});
    return text + machine.Text();
  }

  std::string AsText(const engine::Runtime& runtime, const bench::Limits& limits,
                     const std::vector<bench::Measurement>& results, const FirstToken& first) const {
    const models::Model& model = *runtime.model;
    std::string text = no_limits_ ? "" : MachineText(limits);
    text +=
        fmt::format("\n{}: {}, cache {}, {}; weights {} in memory, {} read for each decode step\n\n",
                    flags_.model, model.TypeName(), model.CacheTypeName(), runtime.context->kernels().name,
                    report::Bytes(static_cast<double>(model.weight_bytes())),
                    report::Bytes(static_cast<double>(model.streamed_bytes())));
    const bool ranks = flags_.communicator != nullptr;
    std::vector<std::string> header = {"measured", "tok/s", "best", "limit", "best of limit", "", "bound by"};
    if (ranks) header.insert(header.end(), {"in communication", "exchanges", "received"});
    report::Table table(header);
    for (const bench::Measurement& m : results) {
      const std::string limit = m.limit > 0 ? fmt::format("{:.1f}", m.limit) : "-";
      const std::string ratio = m.limit > 0 ? fmt::format("{:.2f}", m.ratio()) : "-";
      const std::string bar = m.limit > 0 ? report::Bar(m.ratio(), 1, kBarWidth) : "";
      std::vector<std::string> row = {m.what,
                                      fmt::format("{:.1f}", m.tokens_per_second),
                                      fmt::format("{:.1f}", m.tokens / m.best_seconds),
                                      limit,
                                      ratio,
                                      bar,
                                      m.bound_by};
      if (ranks)
        row.insert(row.end(), {fmt::format("{} ({:.0f}%)", report::Seconds(m.traffic.seconds),
                                           100 * m.traffic.seconds / m.seconds),
                               std::to_string(m.traffic.operations),
                               report::Bytes(static_cast<double>(m.traffic.bytes))});
      table.Row(row);
    }
    text += table.Text();
    if (ranks) return text + ExchangeText(exchange_);
    if (no_limits_) return text;
    text += fmt::format(
        "\nfirst token {} after the start of the process ({} tokens of prompt); peak memory {}, {:.2f} of "
        "the weights\n",
        report::Seconds(first.seconds), kFirstPrompt, report::Bytes(first.peak_bytes),
        first.need_bytes > 0 ? first.peak_bytes / first.need_bytes : 0);
    return text;
  }

  std::string AsJson(const engine::Runtime& runtime, const bench::Limits& limits,
                     const std::vector<bench::Measurement>& results, const FirstToken& first) const {
    const models::Model& model = *runtime.model;
    report::Json json;
    json.BeginObject().Key("model").Text(flags_.model).Key("type").Text(model.TypeName());
    json.Key("cache_type").Text(model.CacheTypeName()).Key("isa").Text(runtime.context->kernels().name);
    json.Key("threads")
        .Integer(no_limits_ ? runtime.context->pool().size() : limits.threads)
        .Key("processor")
        .Text(limits.processor);
    json.Key("weight_bytes").Integer(static_cast<int64_t>(model.weight_bytes()));
    json.Key("load_seconds").Number(load_seconds_);
    json.Key("streamed_bytes").Integer(static_cast<int64_t>(model.streamed_bytes()));
    json.Key("limits")
        .BeginObject()
        .Key("bytes_per_second")
        .Number(limits.bandwidth)
        .Key("peaks")
        .BeginArray();
    for (const bench::Peak& peak : limits.peaks) {
      json.BeginObject().Key("name").Text(peak.name).Key("isa").Text(peak.isa).Key("flops_per_second");
      if (peak.missing.empty())
        json.Number(peak.flops);
      else
        json.Null();
      json.EndObject();
    }
    json.EndArray().EndObject().Key("results").BeginArray();
    for (const bench::Measurement& m : results)
      json.BeginObject()
          .Key("what")
          .Text(m.what)
          .Key("seconds")
          .Number(m.seconds)
          .Key("tokens_per_second")
          .Number(m.tokens_per_second)
          .Key("best_tokens_per_second")
          .Number(m.tokens / m.best_seconds)
          .Key("limit")
          .Number(m.limit)
          .Key("ratio")
          .Number(m.ratio())
          .Key("bound_by")
          .Text(m.bound_by)
          .Key("communication_seconds")
          .Number(m.traffic.seconds)
          .Key("operations")
          .Integer(m.traffic.operations)
          .Key("received_bytes")
          .Integer(m.traffic.bytes)
          .EndObject();
    json.EndArray();
    if (flags_.communicator) {
      json.Key("ranks").Integer(flags_.communicator->size()).Key("exchange").BeginObject();
      json.Key("latency_seconds").Number(exchange_.latency);
      json.Key("bytes_per_second").Number(exchange_.bytes_per_second).Key("times").BeginArray();
      for (const bench::ExchangeTime& time : exchange_.times)
        json.BeginObject().Key("bytes").Number(time.bytes).Key("seconds").Number(time.seconds).EndObject();
      json.EndArray().EndObject();
    } else if (!no_limits_) {
      json.Key("first_token_seconds").Number(first.seconds);
      json.Key("peak_resident_bytes").Number(first.peak_bytes);
    }
    json.EndObject();
    return json.text() + "\n";
  }

  ModelFlags flags_;
  bench::ExchangeFit exchange_;  // on several ranks
  double load_seconds_ = 0;
  std::optional<double> seconds_;
  std::optional<std::string> prefills_, batches_, contexts_;
  bool first_token_ = false, json_ = false, no_limits_ = false;
};

}  // namespace

std::unique_ptr<Command> NewBench() { return std::make_unique<Bench>(); }

}  // namespace fusiontree::cli
